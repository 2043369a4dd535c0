package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

const (
	// holdLabel is on the one lease of an engine that holds the root file systems of its containers.
	holdLabel = "berth.rootfs"
	// leaseLabel is on the leases of this package; its value is the name of the image that is being brought.
	leaseLabel = "berth.image"
	// collectLease is what Collect makes and gives up, so that containerd collects.
	collectLease = "berth-collect"
	// leaseLife is how long a pull that was cut off keeps what it fetched.
	leaseLife    = 24 * time.Hour
	cleanupLimit = time.Minute
)

// lease protects all that is made under the returned context until end is called with the outcome. Then the content
// stands on its own (a record was made); or it is kept for a further try, as the try was only cut off; or it goes.
func (s *Store) lease(ctx context.Context, name string) (_ context.Context, end func(error) error, _ error) {
	id := "berth-image-" + rand.Text()
	s.setActive(id, true)
	l, err := s.leases.Create(ctx, leases.WithID(id), leases.WithExpiration(leaseLife), leases.WithLabel(leaseLabel, name))
	if err != nil {
		s.setActive(id, false)
		return nil, nil, fmt.Errorf("protect image %q while it is fetched: %w", name, err)
	}
	outer := ctx
	return leases.WithLease(ctx, l.ID), func(outcome error) error {
		clean, cancel := context.WithTimeout(context.WithoutCancel(outer), cleanupLimit)
		defer cancel()
		defer s.setActive(id, false)
		if resumable(outcome) {
			return outcome
		}
		if err := s.endLeases(clean, name, l, outcome != nil); err != nil {
			return errors.Join(outcome, fmt.Errorf("clean up after image %q: %w", name, err))
		}
		return outcome
	}, nil
}

// resumable reports that what was fetched so far is sound and another try can use it.
func resumable(outcome error) bool {
	if outcome == nil || isNoSpace(outcome) {
		return false
	}
	return errors.Is(outcome, context.Canceled) || errors.Is(outcome, context.DeadlineExceeded) || isTransient(outcome)
}

// endLeases removes the lease and those of earlier tries for the same name. discard has the collector run at once.
func (s *Store) endLeases(ctx context.Context, name string, own leases.Lease, discard bool) error {
	list := []leases.Lease{own}
	earlier, err := s.leases.List(ctx, fmt.Sprintf("labels.%q==%s", leaseLabel, strconv.Quote(name)))
	if err != nil {
		return err
	}
	for _, l := range earlier {
		if l.ID != own.ID && !s.isActive(l.ID) {
			list = append(list, l)
		}
	}
	for i, l := range list {
		var opts []leases.DeleteOpt
		if discard && i == len(list)-1 {
			opts = append(opts, leases.SynchronousDelete)
		}
		if err := s.leases.Delete(ctx, l, opts...); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// hold gives ctx the lease of this engine's root file systems, unless it carries one. It is made at first need, when those of
// engines that ended go: what they held and nobody recorded goes with them.
func (s *Store) hold(ctx context.Context) (context.Context, error) {
	if _, ok := leases.FromContext(ctx); ok {
		return ctx, nil
	}
	s.holdMu.Lock()
	defer s.holdMu.Unlock()
	if s.holding == "" {
		old, err := s.leases.List(ctx, fmt.Sprintf("labels.%q", holdLabel))
		if err != nil {
			return nil, err
		}
		l, err := s.leases.Create(ctx, leases.WithID("berth-rootfs-"+rand.Text()), leases.WithLabel(holdLabel, "held"))
		if err != nil {
			return nil, err
		}
		s.holding = l.ID
		for _, o := range old {
			if err := s.leases.Delete(ctx, o); err != nil && !errdefs.IsNotFound(err) {
				return nil, err
			}
		}
	}
	return leases.WithLease(ctx, s.holding), nil
}

// Close gives back what the store holds for this process only. Root file systems whose containers are recorded stay.
func (s *Store) Close(ctx context.Context) error {
	s.holdMu.Lock()
	defer s.holdMu.Unlock()
	if s.holding == "" {
		return nil
	}
	if err := s.leases.Delete(s.within(ctx), leases.Lease{ID: s.holding}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("close the image store: %w", err)
	}
	s.holding = ""
	return nil
}

func (s *Store) setActive(lease string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if active {
		s.active[lease] = true
	} else {
		delete(s.active, lease)
	}
}

func (s *Store) isActive(lease string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[lease]
}
