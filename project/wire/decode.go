package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Unmarshal reads what Marshal wrote into the value that to points to, which must be zero. A field that its type
// doesn't have is passed over.
func Unmarshal(data []byte, to any) error {
	d := decoder{in: data, fields: map[reflect.Type]map[string]int{}}
	if err := d.value(reflect.ValueOf(to).Elem()); err != nil {
		return err
	}
	if d.space(); d.at < len(d.in) {
		return d.failf("more than one value")
	}
	return nil
}

type decoder struct {
	in     []byte
	at     int
	fields map[reflect.Type]map[string]int
	depth  int
}

// depthLimit is how far values may be nested; a form that goes deeper is no project, but could exhaust the stack.
const depthLimit = 1000

func (d *decoder) deeper() error {
	if d.depth++; d.depth > depthLimit {
		return d.failf("nested too deep")
	}
	return nil
}

func (d *decoder) failf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", d.at, fmt.Sprintf(format, args...))
}

func (d *decoder) space() {
	for d.at < len(d.in) && (d.in[d.at] == ' ' || d.in[d.at] == '\n' || d.in[d.at] == '\t' || d.in[d.at] == '\r') {
		d.at++
	}
}

// next is the first byte of the next token, 0 at the end.
func (d *decoder) next() byte {
	d.space()
	if d.at == len(d.in) {
		return 0
	}
	return d.in[d.at]
}

func (d *decoder) expect(c byte) error {
	if d.next() != c {
		return d.failf("%q is missing", c)
	}
	d.at++
	return nil
}

func (d *decoder) null() bool {
	if d.next() == 'n' && bytes.HasPrefix(d.in[d.at:], []byte("null")) {
		d.at += 4
		return true
	}
	return false
}

func (d *decoder) value(v reflect.Value) error {
	if d.null() {
		v.SetZero()
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(v)
	case reflect.Map:
		return d.mapping(v)
	case reflect.Slice:
		return d.list(v)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.value(v.Elem())
	case reflect.Interface:
		x, err := d.dynamic()
		if err == nil && x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return err
	case reflect.String:
		s, err := d.text()
		v.SetString(s)
		return err
	}
	return d.scalar(v)
}

func (d *decoder) scalar(v reflect.Value) error {
	word := d.word()
	var err error
	switch v.Kind() {
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(word)
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(word, 10, v.Type().Bits())
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(word, 10, v.Type().Bits())
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		var x float64
		x, err = strconv.ParseFloat(word, v.Type().Bits())
		v.SetFloat(x)
	default:
		err = fmt.Errorf("no form for a %s", v.Type())
	}
	if err != nil {
		return d.failf("%v", err)
	}
	return nil
}

// word is a number, true or false.
func (d *decoder) word() string {
	d.space()
	start := d.at
	for d.at < len(d.in) && strings.IndexByte(",]} \n\t\r", d.in[d.at]) < 0 {
		d.at++
	}
	return string(d.in[start:d.at])
}

// object calls entry for each key of an object, with the input at its value.
func (d *decoder) object(entry func(key string) error) error {
	if err := d.expect('{'); err != nil {
		return err
	}
	if err := d.deeper(); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	if d.next() == '}' {
		d.at++
		return nil
	}
	for {
		key, err := d.text()
		if err != nil {
			return err
		}
		if err := d.expect(':'); err != nil {
			return err
		}
		if err := entry(key); err != nil {
			return err
		}
		if d.next() == ',' {
			d.at++
			continue
		}
		return d.expect('}')
	}
}

// array calls entry for each value of an array, with the input at it.
func (d *decoder) array(entry func() error) error {
	if err := d.expect('['); err != nil {
		return err
	}
	if err := d.deeper(); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	if d.next() == ']' {
		d.at++
		return nil
	}
	for {
		if err := entry(); err != nil {
			return err
		}
		if d.next() == ',' {
			d.at++
			continue
		}
		return d.expect(']')
	}
}

func (d *decoder) structure(v reflect.Value) error {
	t := v.Type()
	fields, ok := d.fields[t]
	if !ok {
		fields = map[string]int{}
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				fields[f.Name] = i
			}
		}
		d.fields[t] = fields
	}
	return d.object(func(key string) error {
		i, ok := fields[key]
		if !ok {
			_, err := d.dynamic()
			return err
		}
		return d.value(v.Field(i))
	})
}

func (d *decoder) mapping(v reflect.Value) error {
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	elem := reflect.New(t.Elem()).Elem()
	return d.object(func(key string) error {
		elem.SetZero()
		if err := d.value(elem); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), elem)
		return nil
	})
}

func (d *decoder) list(v reflect.Value) error {
	out := reflect.MakeSlice(v.Type(), 0, 4)
	elem := reflect.New(v.Type().Elem()).Elem()
	err := d.array(func() error {
		elem.SetZero()
		if err := d.value(elem); err != nil {
			return err
		}
		out = reflect.Append(out, elem)
		return nil
	})
	v.Set(out)
	return err
}

// dynamic reads a value of an extension field.
func (d *decoder) dynamic() (any, error) {
	if d.null() {
		return nil, nil
	}
	switch d.next() {
	case '"':
		return d.text()
	case '[':
		list := []any{}
		err := d.array(func() error {
			x, err := d.dynamic()
			list = append(list, x)
			return err
		})
		return list, err
	case '{':
		return d.dynamicMap()
	}
	switch word := d.word(); {
	case word == "true" || word == "false":
		return word == "true", nil
	case strings.ContainsAny(word, ".e"):
		return strconv.ParseFloat(word, 64)
	default:
		return strconv.Atoi(word)
	}
}

func (d *decoder) dynamicMap() (any, error) {
	m := map[string]any{}
	var other any
	err := d.object(func(key string) error {
		name, marked := strings.CutPrefix(key, typeMark)
		var err error
		switch {
		case !marked:
			m[key], err = d.dynamic()
		case name == "map":
			err = d.object(func(key string) error {
				m[key], err = d.dynamic()
				return err
			})
		default:
			other, err = d.tagged(name)
		}
		return err
	})
	if other != nil {
		return other, err
	}
	return m, err
}

func (d *decoder) tagged(name string) (any, error) {
	text, err := d.text()
	if err != nil {
		return nil, err
	}
	switch name {
	case "float64":
		return strconv.ParseFloat(text, 64)
	case "float32":
		x, err := strconv.ParseFloat(text, 32)
		return float32(x), err
	case "int64":
		return strconv.ParseInt(text, 10, 64)
	case "uint64":
		return strconv.ParseUint(text, 10, 64)
	case "time":
		return time.Parse(time.RFC3339Nano, text)
	}
	return nil, d.failf("unknown type %q", name)
}

// text reads a string.
func (d *decoder) text() (string, error) {
	if err := d.expect('"'); err != nil {
		return "", err
	}
	start := d.at
	for i := d.at; i < len(d.in); i++ {
		switch d.in[i] {
		case '"':
			d.at = i + 1
			return string(d.in[start:i]), nil
		case '\\':
			return d.escaped(start, i)
		}
	}
	return "", errors.New("a text has no end")
}

// escaped reads on in a string that has a backslash at i.
func (d *decoder) escaped(start, i int) (string, error) {
	out := append([]byte(nil), d.in[start:i]...)
	for i < len(d.in) {
		c := d.in[i]
		if c == '"' {
			d.at = i + 1
			return string(out), nil
		}
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		if i+1 == len(d.in) {
			break
		}
		if d.in[i+1] == 'u' {
			r, n := unicodeEscape(d.in[i:])
			if n == 0 {
				return "", d.failf("a bad escape in a text")
			}
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		plain := strings.IndexByte(`"\/nrtbf`, d.in[i+1])
		if plain < 0 {
			return "", d.failf("a bad escape in a text")
		}
		out = append(out, "\"\\/\n\r\t\b\f"[plain])
		i += 2
	}
	return "", errors.New("a text has no end")
}

// unicodeEscape reads \uXXXX, or two of them that make one character, and gives the bytes that it took.
func unicodeEscape(in []byte) (rune, int) {
	one := hex4(in)
	if one < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(one) && len(in) >= 12 {
		if r := utf16.DecodeRune(one, hex4(in[6:])); r != utf8.RuneError {
			return r, 12
		}
	}
	return one, 6
}

func hex4(in []byte) rune {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(in[2:6]), 16, 32)
	if err != nil {
		return -1
	}
	return rune(n)
}
