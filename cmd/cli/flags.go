package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// seconds is a flag with a number of seconds that may be left away.
type seconds struct{ value *time.Duration }

func (s *seconds) String() string {
	if s.value == nil {
		return ""
	}
	return strconv.Itoa(int(*s.value / time.Second))
}

func (s *seconds) Type() string { return "seconds" }

// Set takes seconds, or a duration with its unit.
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if n, nerr := strconv.Atoi(text); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil {
		return fmt.Errorf("%q is not a number of seconds", text)
	}
	s.value = &d
	return nil
}

// or gives the value, or another one where the flag was not given.
func (s *seconds) or(d time.Duration) time.Duration {
	if s.value == nil {
		return d
	}
	return *s.value
}

// oldNames lets flags be given by names that they had elsewhere.
func oldNames(names map[string]string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if n, ok := names[name]; ok {
			name = n
		}
		return pflag.NormalizedName(name)
	}
}
