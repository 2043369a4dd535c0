// Package logs keeps what a container wrote: the shim writes it, the engine reads it.
//
// It owns the files in a container's log folder, their format, rotation and index, and what a service's
// logging section means. It knows nothing of containers, tasks or sockets.
//
// Entry points: ParseOptions and URI for the engine when it makes a task; OpenWriter for the shim;
// Reader for the engine. What is read comes in the frame of api.AppendLog, ready for the socket.
//
// Invariants: times in a folder never go back, whatever the clock does. There is one writer per folder. A
// segment that a reader holds, and every later one, stays until the reader has gone on.
//
// # Design
//
// A folder holds numbered segments, 00000001.log and on; the highest is being written. A segment is a run of
// chunks, and a chunk is what one read from the container gave: a header (stream, length, time), the bytes as
// they came, and a trailer that repeats the length. The writer neither looks for lines nor copies: one read,
// one write, and a prompt without a newline is readable at once. Lines are split by the reader, which has the
// time. Header and trailer let a reader walk either way, so the last lines are found from the end; a side file
// (00000001.idx) with a time and an offset for each 256 KiB makes "since" a search.
//
// A chunk that was being written when the machine or the shim died has no trailer. Readers skip it, and the
// next writer cuts it off.
//
// Readers mark their segment with a shared flock; the writer removes segments oldest first, and stops at the
// first one that is held. So a reader that is slower than the rotation loses nothing, and the mark goes away
// with the reader however that ends. A reader that hangs for ever must not fill the disk: the writer keeps
// no more than 1 GiB for readers.
package logs
