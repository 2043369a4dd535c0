package enter

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// What a filter may look at; offsets in struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// Instructions that libseccomp's filters consist of.
const (
	bpfLoad     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfAtLeast  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	bpfLarger   = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	bpfBits     = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	bpfAlways   = unix.BPF_JMP | unix.BPF_JA
	bpfAnd      = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	bpfReturn   = unix.BPF_RET | unix.BPF_K
	instruction = 8 // the size of one
)

// errCompact says that a filter has something that is not known here, and stays as it is.
var errCompact = errors.New("this filter can't be made shorter")

// answer is what a filter says of a call: a verdict, or where it begins to look at the call's arguments.
type answer struct {
	verdict uint32
	args    int // the instruction; 0: there is a verdict (the first instruction is never one that loads an argument)
}

// compact gives a filter that says the same of every call in fewer steps. libseccomp compares a call's number with one after
// another, and the kernel walks through all of that for each number there is when a filter is set (it keeps the verdicts that
// depend on nothing else), after having compiled it: a quarter of a millisecond for each process. Here the numbers are searched
// for in ranges of equal answer. What looks at arguments is taken over instruction by instruction.
func compact(filter []unix.SockFilter) ([]unix.SockFilter, error) {
	if err := known(filter); err != nil {
		return nil, err
	}
	archs, err := archsOf(filter)
	if err != nil {
		return nil, err
	}
	// An architecture that the filter doesn't name.
	other, err := rangesOf(filter, unnamed(filter))
	if err != nil || len(other) != 1 || other[0].args != 0 {
		return nil, errCompact
	}
	c := compacting{from: filter, tails: map[int]bool{}, places: map[int]int{}}
	all := map[uint32][]span{unnamed(filter): other}
	for _, arch := range archs {
		if all[arch], err = rangesOf(filter, arch); err != nil {
			return nil, err
		}
		c.search(arch, all[arch])
	}
	c.emit(unix.SockFilter{Code: bpfReturn, K: other[0].verdict})
	c.addTails()
	if len(c.code) >= len(filter) || len(c.code) > unix.BPF_MAXINSNS || !c.saysAll(all) {
		return nil, errCompact
	}
	return c.code, nil
}

// saysAll looks at what has come out once more: it is a fence.
func (c *compacting) saysAll(all map[uint32][]span) bool {
	for arch, spans := range all {
		for i, s := range spans {
			last := ^uint32(0)
			if i+1 < len(spans) {
				last = spans[i+1].from - 1
			}
			want := s.answer
			if want.args != 0 {
				want.args = c.places[want.args]
			}
			for _, number := range []uint32{s.from, last} {
				if got, err := follow(c.code, arch, number); err != nil || got != want {
					return false
				}
			}
		}
	}
	return true
}

// known refuses a filter with instructions that are not in those that libseccomp makes here, or that could run out of it.
func known(filter []unix.SockFilter) error {
	for i, f := range filter {
		furthest := 0
		switch f.Code {
		case bpfEqual, bpfAtLeast, bpfLarger, bpfBits:
			furthest = i + 1 + int(max(f.Jt, f.Jf))
		case bpfAlways:
			furthest = i + 1 + int(f.K)
		case bpfLoad, bpfAnd:
			furthest = i + 1
		case bpfReturn:
		default:
			return errCompact
		}
		if furthest >= len(filter) || f.Code == bpfAlways && f.K > unix.BPF_MAXINSNS {
			return errCompact
		}
	}
	if len(filter) == 0 || filter[0].Code != bpfLoad || filter[0].K >= dataArgs {
		return errCompact
	}
	return nil
}

// archsOf gives the architectures that are named.
func archsOf(filter []unix.SockFilter) ([]uint32, error) {
	var archs []uint32
	for _, f := range filter {
		for _, a := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM} {
			if f.Code == bpfEqual && f.K == a && !slices.Contains(archs, a) {
				archs = append(archs, a)
			}
		}
	}
	if len(archs) == 0 {
		return nil, errCompact
	}
	return archs, nil
}

// unnamed gives an architecture that no instruction has.
func unnamed(filter []unix.SockFilter) (arch uint32) {
	for slices.ContainsFunc(filter, func(f unix.SockFilter) bool { return f.K == arch }) {
		arch++
	}
	return arch
}

// span is a range of numbers with the same answer, up to the next one.
type span struct {
	from uint32
	answer
}

// rangesOf gives what the filter says of an architecture's calls, of all numbers there can be.
func rangesOf(filter []unix.SockFilter, arch uint32) ([]span, error) {
	// Between two of these no comparison of the number has another result.
	starts := []uint32{0, x32Bit, 2 * x32Bit, 3 * x32Bit}
	for _, f := range filter {
		switch f.Code {
		case bpfEqual, bpfLarger, bpfAtLeast:
			starts = append(starts, f.K)
			if f.K+1 != 0 {
				starts = append(starts, f.K+1)
			}
		}
	}
	slices.Sort(starts)
	var spans []span
	for _, from := range slices.Compact(starts) {
		o, err := follow(filter, arch, from)
		if err != nil {
			return nil, err
		}
		if len(spans) == 0 || spans[len(spans)-1].answer != o {
			spans = append(spans, span{from, o})
		}
	}
	return spans, nil
}

// follow runs a filter up to its verdict, or to where it looks at arguments.
func follow(filter []unix.SockFilter, arch, number uint32) (answer, error) {
	var a uint32
	isNumber := false
	for at := 0; ; at++ {
		f := &filter[at]
		switch f.Code {
		case bpfLoad:
			switch isNumber = f.K == dataNumber; {
			case f.K >= dataArgs:
				return answer{args: at}, nil
			case isNumber:
				a = number
			case f.K == dataArch:
				a = arch
			default:
				return answer{}, errCompact
			}
		case bpfReturn:
			return answer{verdict: f.K}, nil
		case bpfAlways:
			at += int(f.K)
		case bpfAnd:
			return answer{}, errCompact // of a number or an architecture it is not known here
		default:
			// An architecture is compared as a whole, and of a number's bits the one of x32: see rangesOf.
			if !isNumber && f.Code != bpfEqual || f.Code == bpfBits && f.K != x32Bit {
				return answer{}, errCompact
			}
			at += int(jump(f, a))
		}
	}
}

// jump gives how far a comparison leads.
func jump(f *unix.SockFilter, a uint32) uint8 {
	holds := false
	switch f.Code {
	case bpfEqual:
		holds = a == f.K
	case bpfAtLeast:
		holds = a >= f.K
	case bpfLarger:
		holds = a > f.K
	case bpfBits:
		holds = a&f.K != 0
	}
	if holds {
		return f.Jt
	}
	return f.Jf
}

// compacting is a filter that is being made.
type compacting struct {
	from   []unix.SockFilter
	code   []unix.SockFilter
	jumps  []jumpTo     // to what is taken over
	tails  map[int]bool // instructions that are
	places map[int]int  // where they have come to
}

// jumpTo is an instruction whose K is to lead to one that is taken over.
type jumpTo struct{ at, to int }

func (c *compacting) emit(f ...unix.SockFilter) { c.code = append(c.code, f...) }

// search has an architecture's calls searched for; others go on behind it.
func (c *compacting) search(arch uint32, spans []span) {
	c.emit(unix.SockFilter{Code: bpfLoad, K: dataArch}, unix.SockFilter{Code: bpfEqual, K: arch, Jt: 1}, unix.SockFilter{Code: bpfAlways})
	others := len(c.code) - 1
	c.emit(unix.SockFilter{Code: bpfLoad, K: dataNumber})
	c.halve(spans)
	c.code[others].K = uint32(len(c.code) - others - 1)
}

// halve looks in which half of some ranges a number is, and so on.
func (c *compacting) halve(spans []span) {
	if len(spans) == 1 {
		c.conclude(spans[0].answer)
		return
	}
	middle := len(spans) / 2
	// The upper half may be further away than a comparison can lead.
	c.emit(unix.SockFilter{Code: bpfAtLeast, K: spans[middle].from, Jf: 1}, unix.SockFilter{Code: bpfAlways})
	at := len(c.code) - 2
	c.halve(spans[:middle])
	lower := c.code[at+2:]
	if len(lower) <= 255 {
		copy(c.code[at+1:], lower)
		c.code = c.code[:len(c.code)-1]
		c.code[at].Jt, c.code[at].Jf = uint8(len(lower)), 0
		c.moved(at + 1)
	} else {
		c.code[at+1].K = uint32(len(lower))
	}
	c.halve(spans[middle:])
}

// moved is told that what stood behind an instruction is now one place ahead.
func (c *compacting) moved(from int) {
	for i := range c.jumps {
		if c.jumps[i].at > from {
			c.jumps[i].at--
		}
	}
}

func (c *compacting) conclude(o answer) {
	if o.args == 0 {
		c.emit(unix.SockFilter{Code: bpfReturn, K: o.verdict})
		return
	}
	c.jumps = append(c.jumps, jumpTo{len(c.code), o.args})
	c.emit(unix.SockFilter{Code: bpfAlways})
	c.takeOver(o.args)
}

// takeOver marks an instruction, and all that may follow it.
func (c *compacting) takeOver(at int) {
	if c.tails[at] {
		return
	}
	c.tails[at] = true
	for _, next := range following(c.from, at) {
		c.takeOver(next)
	}
}

func following(filter []unix.SockFilter, at int) []int {
	switch f := filter[at]; f.Code {
	case bpfReturn:
		return nil
	case bpfAlways:
		return []int{at + 1 + int(f.K)}
	case bpfLoad, bpfAnd:
		return []int{at + 1}
	default:
		return []int{at + 1 + int(f.Jt), at + 1 + int(f.Jf)}
	}
}

// addTails adds what is taken over, in its order, so that jumps only become shorter.
func (c *compacting) addTails() {
	for at, f := range c.from {
		if c.tails[at] {
			c.places[at] = len(c.code)
			c.emit(f)
		}
	}
	for at, place := range c.places {
		f := &c.code[place]
		distance := func(by uint32) uint32 { return uint32(c.places[at+1+int(by)] - place - 1) }
		switch f.Code {
		case bpfAlways:
			f.K = distance(f.K)
		case bpfEqual, bpfAtLeast, bpfLarger, bpfBits:
			f.Jt, f.Jf = uint8(distance(uint32(f.Jt))), uint8(distance(uint32(f.Jf)))
		}
	}
	for _, j := range c.jumps {
		c.code[j.at].K = uint32(c.places[j.to] - j.at - 1)
	}
}
