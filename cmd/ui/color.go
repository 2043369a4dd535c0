package ui

import "github.com/fatih/color"

// paint colours a text.
type paint func(string) string

func plainPaint(s string) string { return s }

// painter makes a paint that colours whatever the process's terminal is: New has decided already.
func painter(on bool, attrs ...color.Attribute) paint {
	if !on {
		return plainPaint
	}
	c := color.New(attrs...)
	c.EnableColor()
	return func(s string) string { return c.Sprint(s) }
}

// palette has the colours of what progress and errors say.
type palette struct {
	colored                                             bool
	success, warning, failure, info, timer, strong, dim paint
}

func newPalette(on bool) palette {
	return palette{
		colored: on,
		success: painter(on, color.FgGreen),
		warning: painter(on, color.FgYellow, color.Bold),
		failure: painter(on, color.FgRed, color.Bold),
		info:    painter(on, color.FgCyan),
		timer:   painter(on, color.FgBlue),
		strong:  painter(on, color.Bold),
		dim:     painter(on, color.Faint),
	}
}

// rainbow hands out the colours of log prefixes, in the order of docker compose.
type rainbow struct {
	on   bool
	next int
}

func (r *rainbow) take() paint {
	base := [...]color.Attribute{color.FgCyan, color.FgYellow, color.FgGreen, color.FgMagenta, color.FgBlue}
	i := r.next % (2 * len(base))
	r.next++
	if i < len(base) {
		return painter(r.on, base[i])
	}
	return painter(r.on, base[i-len(base)], color.Bold)
}
