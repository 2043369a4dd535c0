package enter

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const allow, errno, kill = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | 1, unix.SECCOMP_RET_KILL_PROCESS

// oneByOne makes a filter as libseccomp does: for each architecture one comparison after the other, some calls by an argument, and with again some that go on with the number then.
func oneByOne(r *rand.Rand, calls int, again bool) []unix.SockFilter {
	code := []unix.SockFilter{{Code: bpfLoad, K: dataArch}}
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386} {
		part := []unix.SockFilter{{Code: bpfLoad, K: dataNumber}}
		if arch == unix.AUDIT_ARCH_X86_64 {
			part = append(part, unix.SockFilter{Code: bpfBits, K: x32Bit, Jf: 1}, unix.SockFilter{Code: bpfReturn, K: kill})
		}
		for range calls {
			number, verdict := r.Uint32N(uint32(2*calls)), []uint32{allow, allow, allow, errno}[r.IntN(4)]
			if r.IntN(8) > 0 {
				part = append(part, unix.SockFilter{Code: bpfEqual, K: number, Jf: 1}, unix.SockFilter{Code: bpfReturn, K: verdict})
				continue
			}
			if again && r.IntN(40) == 0 { // one that looks at the number again
				part = append(part, unix.SockFilter{Code: bpfLoad, K: dataArgs}, unix.SockFilter{Code: bpfBits, K: 2, Jt: 1},
					unix.SockFilter{Code: bpfReturn, K: errno | 8}, unix.SockFilter{Code: bpfLoad, K: dataNumber})
			}
			compare := bpfEqual
			if number > uint32(calls)*19/10 {
				compare = []int{bpfLarger, bpfAtLeast}[r.IntN(2)]
			}
			part = append(part,
				unix.SockFilter{Code: uint16(compare), K: number, Jf: 6},
				unix.SockFilter{Code: bpfLoad, K: dataArgs + 8*r.Uint32N(6)},
				unix.SockFilter{Code: bpfAnd, K: 0xff},
				unix.SockFilter{Code: bpfEqual, K: r.Uint32N(4), Jt: uint8(r.IntN(2)), Jf: 2},
				unix.SockFilter{Code: bpfReturn, K: verdict},
				unix.SockFilter{Code: bpfReturn, K: errno | 2},
				unix.SockFilter{Code: bpfReturn, K: errno | 4},
			)
		}
		part = append(part, unix.SockFilter{Code: bpfReturn, K: errno})
		code = append(code, unix.SockFilter{Code: bpfEqual, K: arch, Jt: 1}, unix.SockFilter{Code: bpfAlways, K: uint32(len(part))})
		code = append(code, part...)
	}
	return append(code, unix.SockFilter{Code: bpfReturn, K: kill})
}

func machine(t *testing.T, code []unix.SockFilter) *bpf.VM {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, f := range code {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("there are instructions that nobody knows")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// A filter that was made shorter says of each call what it said before.
func TestAShorterFilterSaysTheSame(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 4))
		calls := []int{1, 7, 60, 400}[seed%4]
		again := seed%8 > 3 // then much of it has to stay as it is
		long := oneByOne(r, calls, again)
		short, err := compact(long)
		if err != nil {
			if calls >= 400 && !again {
				t.Errorf("%d instructions for %d calls: %v", len(long), calls, err)
			}
			continue
		}
		if calls >= 400 && !again && len(short) > len(long)*9/10 {
			t.Errorf("%d instructions are %d in short", len(long), len(short))
		}
		was, is := machine(t, long), machine(t, short)
		for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, 0, 1<<32 - 1} {
			for _, base := range []uint32{0, x32Bit, 2 * x32Bit, 3 * x32Bit} {
				numbers := []uint32{x32Bit - 1, 1 << 29}
				for n := range uint32(2*calls + 2) {
					numbers = append(numbers, n)
				}
				for _, number := range numbers {
					data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, base|number), arch)
					data = append(data, make([]byte, 8)...)
					for range 12 {
						data = binary.BigEndian.AppendUint32(data, r.Uint32N(5)|r.Uint32N(2)<<20)
					}
					want, err := was.Run(data)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := is.Run(data); err != nil || got != want {
						t.Fatalf("seed %d: call %#x of %#x: %#x, was %#x (%v)", seed, base|number, arch, got, want, err)
					}
				}
			}
		}
	}
}

// What is not known for certain is left as it is.
func TestFiltersThatStayAsTheyAre(t *testing.T) {
	long := oneByOne(rand.New(rand.NewPCG(1, 1)), 400, false)
	if _, err := compact(long); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(code []unix.SockFilter) []unix.SockFilter{
		"nothing":                        func([]unix.SockFilter) []unix.SockFilter { return nil },
		"an instruction that is new":     func(c []unix.SockFilter) []unix.SockFilter { c[5].Code = unix.BPF_LDX; return c },
		"a jump out of it":               func(c []unix.SockFilter) []unix.SockFilter { c[2].K = uint32(len(c)); return c },
		"no verdict at the end":          func(c []unix.SockFilter) []unix.SockFilter { return c[:len(c)-1] },
		"an architecture's range":        func(c []unix.SockFilter) []unix.SockFilter { c[1].Code = bpfAtLeast; return c },
		"a bit of the number":            func(c []unix.SockFilter) []unix.SockFilter { c[4].K = 4; return c },
		"the place of the call":          func(c []unix.SockFilter) []unix.SockFilter { c[3].K = 8; return c },
		"a part of the number":           func(c []unix.SockFilter) []unix.SockFilter { c[4] = unix.SockFilter{Code: bpfAnd, K: 1}; return c },
		"only one verdict, for whatever": func([]unix.SockFilter) []unix.SockFilter { return []unix.SockFilter{{Code: bpfReturn, K: allow}} },
		"no architecture": func(c []unix.SockFilter) []unix.SockFilter {
			return []unix.SockFilter{c[3], {Code: bpfReturn, K: allow}}
		},
	} {
		if short, err := compact(change(slices.Clone(long))); err == nil {
			t.Errorf("%s: there is a filter of %d instructions", name, len(short))
		}
	}
}
