package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
)

// Remove takes names away and, with an image's last name, the image. refs are names or ids; by an id all names of the
// image go, if there is only one of them or with force. usedBy names the containers that need an image: its last name is
// then refused without force, as is a name that is held. With force the name goes and what the containers need stays until
// they go.
//
// untagged are the names that went (familiar), deleted the ids of images that went. What was done before an error is
// in both.
func (s *Store) Remove(ctx context.Context, refs []string, force bool, usedBy func(image Image) []string) (untagged, deleted []string, err error) {
	ctx = s.within(ctx)
	for _, ref := range refs {
		u, d, one := s.removeOne(ctx, ref, force, usedBy)
		untagged, deleted = append(untagged, u...), append(deleted, d...)
		if err = one; err != nil {
			break
		}
	}
	if len(untagged)+len(deleted) > 0 { // the space is free when the call returns
		err = errors.Join(err, s.Collect(ctx))
	}
	return untagged, deleted, err
}

func (s *Store) removeOne(ctx context.Context, ref string, force bool, usedBy func(Image) []string) (untagged, deleted []string, err error) {
	rec, err := s.record(ctx, "remove image", ref)
	if err != nil {
		return nil, nil, err
	}
	img, err := s.readAny(ctx, rec)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, nil, err
	}
	if err != nil { // content is damaged or gone: the name can go in any case
		return s.drop(ctx, []images.Image{rec}, "")
	}
	names, err := s.namesOf(ctx, img)
	if err != nil {
		return nil, nil, err
	}
	going := []images.Image{rec}
	if byID(ref, rec) {
		if len(names) > 1 && !force {
			return nil, nil, &Error{Op: "remove image", Ref: ref, Class: errdefs.ErrFailedPrecondition,
				Reason: "it has several names: " + joinWords(familiars(names)), hint: "remove it by name, or use --force"}
		}
		going = names
	}
	if len(going) < len(names) {
		return s.dropUnlessHeld(ctx, ref, going, "", force)
	}
	var users []string
	if usedBy != nil {
		users = usedBy(img)
	}
	if len(users) > 0 && !force {
		return nil, nil, &Error{Op: "remove image", Ref: ref, Class: errdefs.ErrFailedPrecondition,
			Reason: "it is needed by " + joinWords(users), hint: "remove the containers first (berth down), or use --force"}
	}
	id := img.ID.String()
	if len(users) > 0 {
		id = "" // its content stays for them
	}
	return s.dropUnlessHeld(ctx, ref, going, id, force)
}

func (s *Store) dropUnlessHeld(ctx context.Context, ref string, going []images.Image, id string, force bool) (untagged, deleted []string, err error) {
	if force {
		return s.drop(ctx, going, id)
	}
	var names []string
	for _, rec := range going {
		names = append(names, rec.Name)
	}
	held, err := s.holds.unlessHeld(names, func() error {
		untagged, deleted, err = s.drop(ctx, going, id)
		return err
	})
	if held {
		return nil, nil, &Error{Op: "remove image", Ref: ref, Class: errdefs.ErrFailedPrecondition,
			Reason: "a command that is at work needs it", hint: "wait until that is done, or use --force"}
	}
	return untagged, deleted, err
}

// byID reports that ref meant rec by its id.
func byID(ref string, rec images.Image) bool {
	r, err := ParseRef(ref)
	return idPattern.MatchString(ref) && (err != nil || r.String() != rec.Name)
}

// namesOf lists the records of an image: those with the same target or the same configuration.
func (s *Store) namesOf(ctx context.Context, img Image) ([]images.Image, error) {
	all, err := s.images.List(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(rec images.Image) bool {
		if rec.Target.Digest == img.Digest {
			return false
		}
		other, err := s.readAny(ctx, rec)
		return err != nil || other.ID != img.ID
	}), nil
}

func familiars(recs []images.Image) []string {
	var list []string
	for _, r := range recs {
		list = append(list, familiar(r.Name))
	}
	slices.Sort(list)
	return list
}

// drop removes records.
func (s *Store) drop(ctx context.Context, recs []images.Image, id string) (untagged, deleted []string, err error) {
	for _, rec := range recs {
		if err := s.images.Delete(ctx, rec.Name); err != nil && !errdefs.IsNotFound(err) {
			return untagged, deleted, fmt.Errorf("remove image %q: %w", familiar(rec.Name), err)
		}
		s.forget(rec.Target.Digest)
		if r, err := ParseRef(rec.Name); err != nil || r.Repository() != untaggedRepository {
			untagged = append(untagged, familiar(rec.Name))
		}
	}
	if id != "" {
		deleted = append(deleted, id)
	}
	return untagged, deleted, nil
}
