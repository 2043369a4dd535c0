// Package volumes works out where a container's file system does not come from its image: the
// ordered mounts of a slot.
//
// It owns Mount and the rules that lead to it: short and long volumes, tmpfs, volumes_from,
// configs and secrets, the VOLUMEs of an image, and which of them wins a place that two want.
// It knows nothing of the host: no path is looked at and no volume is made (volumes/local does
// that), and the names of anonymous volumes come from the caller.
//
// The entry point is Mounts. What it returns is sorted parents first, has one mount per target,
// and is the same for the same input.
package volumes
