package logs

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options is the rotation of a log.
type Options struct {
	// MaxSizeBytes is the size at which a new file is begun; 0: never.
	MaxSizeBytes int64
	// MaxFiles is how many files are kept, the one being written among them; 0 is 1.
	MaxFiles int
}

// OptionError is a logging section that cannot be obeyed.
type OptionError struct {
	Message, HintText string
}

func (e *OptionError) Error() string { return e.Message }

// Hint is the way out.
func (e *OptionError) Hint() string { return e.HintText }

// Docker's options of its file drivers that change nothing here: what they select is kept elsewhere
// (labels, env, tag), or is how this package works anyway (mode, compress).
var inert = []string{"cache-disabled", "cache-max-file", "cache-max-size", "cache-compress", "compress", "env", "env-regex",
	"labels", "labels-regex", "max-buffer-size", "mode", "tag"}

// ParseOptions reads a service's logging section. Enabled is false for the driver "none".
// Sizes are read as Docker reads them: "10m" is ten million bytes.
func ParseOptions(driver string, opts map[string]string) (o Options, enabled bool, err error) {
	switch driver {
	case "", "json-file":
	case "local":
		o = Options{MaxSizeBytes: 20_000_000, MaxFiles: 5}
	case "none":
		return Options{}, false, nil
	default:
		return Options{}, false, &OptionError{
			Message:  fmt.Sprintf("log driver %q is not supported", driver),
			HintText: `use one of the drivers "json-file", "local" and "none"`,
		}
	}
	for key, value := range opts {
		switch key {
		case "max-size":
			if o.MaxSizeBytes, err = parseSize(value); err != nil {
				return Options{}, false, &OptionError{
					Message:  fmt.Sprintf("log option max-size: %q is not a size", value),
					HintText: `give a positive number with k, m or g: "10m"`,
				}
			}
		case "max-file":
			if o.MaxFiles, err = strconv.Atoi(value); err != nil || o.MaxFiles < 1 {
				return Options{}, false, &OptionError{
					Message:  fmt.Sprintf("log option max-file: %q is not a number of files", value),
					HintText: `give a whole number, 1 or more: "3"`,
				}
			}
		default:
			if !slices.Contains(inert, key) {
				return Options{}, false, &OptionError{
					Message:  fmt.Sprintf("log option %q is not known", key),
					HintText: "the options are max-size and max-file; Docker's " + strings.Join(inert, ", ") + " are accepted and change nothing",
				}
			}
		}
	}
	return o, true, nil
}

var sizePattern = regexp.MustCompile(`^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$`)

func parseSize(s string) (int64, error) {
	m := sizePattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, err
	}
	n *= math.Pow(1000, float64(strings.Index("kmgtp", m[2])+1)*float64(len(m[2])))
	if n < 1 || n >= math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return int64(n), nil
}

const scheme = "berth-log"

// URI names a log folder and its rotation; the engine hands it to the shim as a task's stdout and stderr.
func URI(dir string, o Options) string {
	u := url.URL{Scheme: scheme, Path: dir}
	q := url.Values{}
	if o.MaxSizeBytes > 0 {
		q.Set("max-size", strconv.FormatInt(o.MaxSizeBytes, 10))
	}
	if o.MaxFiles > 0 {
		q.Set("max-file", strconv.Itoa(o.MaxFiles))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// ParseURI reads what URI made; ok is false for any other text.
func ParseURI(s string) (dir string, o Options, ok bool) {
	if !strings.HasPrefix(s, scheme+":") {
		return "", Options{}, false
	}
	u, err := url.Parse(s)
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		return "", Options{}, false
	}
	q := u.Query()
	if v := q.Get("max-size"); v != "" {
		if o.MaxSizeBytes, err = strconv.ParseInt(v, 10, 64); err != nil || o.MaxSizeBytes < 1 {
			return "", Options{}, false
		}
	}
	if v := q.Get("max-file"); v != "" {
		if o.MaxFiles, err = strconv.Atoi(v); err != nil || o.MaxFiles < 1 {
			return "", Options{}, false
		}
	}
	return u.Path, o, true
}
