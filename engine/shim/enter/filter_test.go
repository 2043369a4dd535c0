package enter

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A call that is newer than the profile is answered as by a kernel that doesn't know it; all others are the profile's.
func TestCallsThatAreNewerThanTheProfile(t *testing.T) {
	const theProfiles, newer = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	all := []largest{{unix.AUDIT_ARCH_I386, 451}, {x32, x32Bit | 547}, {unix.AUDIT_ARCH_X86_64, 462}}
	for name, c := range map[string]struct {
		archs      []largest
		arch, call uint32
		want       uint32
	}{
		"the last one that is named":         {all, unix.AUDIT_ARCH_X86_64, 462, theProfiles},
		"the first one that is not":          {all, unix.AUDIT_ARCH_X86_64, 463, newer},
		"the last one of x32":                {all, unix.AUDIT_ARCH_X86_64, x32Bit | 547, theProfiles},
		"a newer one of x32":                 {all, unix.AUDIT_ARCH_X86_64, x32Bit | 548, newer},
		"one of i386 that x86-64 has":        {all, unix.AUDIT_ARCH_I386, 452, newer},
		"an old one of i386":                 {all, unix.AUDIT_ARCH_I386, 1, theProfiles},
		"another architecture":               {all, unix.AUDIT_ARCH_AARCH64, 9999, theProfiles},
		"x32 where the profile has none":     {all[2:], unix.AUDIT_ARCH_X86_64, x32Bit | 9999, theProfiles},
		"x86-64 where the profile has x32":   {all[1:2], unix.AUDIT_ARCH_X86_64, 9999, theProfiles},
		"a profile that allows what is new":  {nil, unix.AUDIT_ARCH_X86_64, 9999, theProfiles},
		"the largest number that there is":   {all, unix.AUDIT_ARCH_I386, 1<<32 - 1, newer},
		"the largest number of architecture": {all, 1<<32 - 1, 1, theProfiles},
	} {
		var raw []bpf.RawInstruction
		text := newerCalls(c.archs)
		for len(text) > 0 {
			var i bpf.RawInstruction
			if _, err := binary.Decode(text, binary.NativeEndian, &i); err != nil {
				t.Fatal(err)
			}
			raw, text = append(raw, i), text[8:]
		}
		raw = append(raw, bpf.RawInstruction{Op: unix.BPF_RET | unix.BPF_K, K: theProfiles})
		program, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatalf("%s: there are instructions that nobody knows", name)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The machine takes words in the order of networks.
		got, err := vm.Run(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, c.call), c.arch))
		if err != nil || uint32(got) != c.want {
			t.Errorf("%s: %#x, want %#x (%v)", name, got, c.want, err)
		}
	}
}

// A record that was not written to its end, or not as it was, is none.
func TestRecordOfAFilter(t *testing.T) {
	program := bytes.Repeat([]byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}, 3)
	whole := record{State: recordReady, Length: 24, Archs: 1, Checksum: checksum(program)}
	copy(whole.Program[:], program)
	whole.Largest[0] = largest{unix.AUDIT_ARCH_I386, 451}
	for name, change := range map[string]func(*record){
		"not begun":               func(r *record) { r.State = 0 },
		"not finished":            func(r *record) { r.State = 1 },
		"empty":                   func(r *record) { r.Length = 0 },
		"half an instruction":     func(r *record) { r.Length = 20 },
		"longer than it is":       func(r *record) { r.Length = 1 << 20 },
		"another program":         func(r *record) { r.Program[5]++ },
		"too many architectures":  func(r *record) { r.Archs = 9 },
		"one that is cut off":     nil,
		"as runc has written it ": func(*record) {},
	} {
		r := whole
		var b bytes.Buffer
		if change != nil {
			change(&r)
		}
		if err := binary.Write(&b, binary.NativeEndian, r); err != nil {
			t.Fatal(err)
		}
		if change == nil {
			b.Truncate(100)
		}
		filter, err := readRecord(b.Bytes())
		if sound := name == "as runc has written it "; sound != (err == nil) || sound && !bytes.HasSuffix(filter, program) {
			t.Errorf("%s: %d bytes, %v", name, len(filter), err)
		}
	}
}
