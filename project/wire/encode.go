package wire

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Marshal is the form of a value. Equal values have equal forms.
func Marshal(v any) ([]byte, error) {
	e := encoder{out: make([]byte, 0, 64<<10), fields: map[reflect.Type][]field{}}
	if err := e.value(reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	return e.out, nil
}

type encoder struct {
	out    []byte
	fields map[reflect.Type][]field
}

// field is an exported field of a struct.
type field struct {
	name  string
	key   string // its quoted name and a colon
	index int
}

// fieldsOf lists the fields of a struct, those of embedded structs under the embedded type's name.
func fieldsOf(known map[reflect.Type][]field, t reflect.Type) []field {
	if fields, ok := known[t]; ok {
		return fields
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() {
			fields = append(fields, field{name: f.Name, key: strconv.Quote(f.Name) + ":", index: i})
		}
	}
	known[t] = fields
	return fields
}

func (e *encoder) value(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Struct:
		return e.structure(v)
	case reflect.Map:
		return e.mapping(v)
	case reflect.Slice, reflect.Array:
		return e.list(v)
	case reflect.Pointer:
		if v.IsNil() {
			e.out = append(e.out, "null"...)
			return nil
		}
		return e.value(v.Elem())
	case reflect.Interface:
		return e.dynamic(v)
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.out = strconv.AppendBool(e.out, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out = strconv.AppendInt(e.out, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.out = strconv.AppendUint(e.out, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return e.float(v.Float(), v.Type().Bits())
	default:
		return fmt.Errorf("no form for a %s", v.Type())
	}
	return nil
}

func (e *encoder) structure(v reflect.Value) error {
	e.out = append(e.out, '{')
	first := true
	for _, f := range fieldsOf(e.fields, v.Type()) {
		fv := v.Field(f.index)
		if fv.IsZero() {
			continue
		}
		if !first {
			e.out = append(e.out, ',')
		}
		first = false
		e.out = append(e.out, f.key...)
		if err := e.value(fv); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	e.out = append(e.out, '}')
	return nil
}

// mapping writes a map with its keys in order, so that equal projects have equal forms.
func (e *encoder) mapping(v reflect.Value) error {
	if v.IsNil() {
		e.out = append(e.out, "null"...)
		return nil
	}
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("no form for a map with %s as keys", v.Type().Key())
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	e.out = append(e.out, '{')
	for i, key := range keys {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		e.text(key.String())
		e.out = append(e.out, ':')
		if err := e.value(v.MapIndex(key)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) list(v reflect.Value) error {
	if v.Kind() == reflect.Slice && v.IsNil() {
		e.out = append(e.out, "null"...)
		return nil
	}
	e.out = append(e.out, '[')
	for i := range v.Len() {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if err := e.value(v.Index(i)); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	e.out = append(e.out, ']')
	return nil
}

// dynamic writes what an extension field holds. Text, boolean, int, list and map are plain JSON, and a float64 is
// a number with a point. What JSON has no own form for is an object with one key: typeMark and the type's name.
func (e *encoder) dynamic(v reflect.Value) error {
	switch x := v.Interface().(type) {
	case nil:
		e.out = append(e.out, "null"...)
		return nil
	case string, bool, int, []any:
		return e.value(v.Elem())
	case map[string]any:
		if !marked(x) {
			return e.value(v.Elem())
		}
		return e.tagged("map", func() error { return e.value(v.Elem()) })
	case float64:
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return e.taggedText("float64", strconv.FormatFloat(x, 'g', -1, 64))
		}
		return e.float(x, 64)
	case float32:
		return e.taggedText("float32", strconv.FormatFloat(float64(x), 'g', -1, 32))
	case int64:
		return e.taggedText("int64", strconv.FormatInt(x, 10))
	case uint64:
		return e.taggedText("uint64", strconv.FormatUint(x, 10))
	case time.Time:
		return e.taggedText("time", x.Format(time.RFC3339Nano))
	}
	return fmt.Errorf("no form for a %T in an extension", v.Interface())
}

// typeMark starts the key of an object that stands for a value of another type.
const typeMark = "\x00"

// marked tells whether a map could be taken for a value of another type.
func marked(m map[string]any) bool {
	for key := range m {
		if strings.HasPrefix(key, typeMark) {
			return true
		}
	}
	return false
}

func (e *encoder) tagged(name string, value func() error) error {
	e.out = append(e.out, '{')
	e.text(typeMark + name)
	e.out = append(e.out, ':')
	if err := value(); err != nil {
		return err
	}
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) taggedText(name, text string) error {
	return e.tagged(name, func() error { e.text(text); return nil })
}

// float writes a number that is not taken for an int.
func (e *encoder) float(x float64, bits int) error {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return fmt.Errorf("no form for the number %v", x)
	}
	start := len(e.out)
	e.out = strconv.AppendFloat(e.out, x, 'g', -1, bits)
	if !bytes.ContainsAny(e.out[start:], ".e") {
		e.out = append(e.out, ".0"...)
	}
	return nil
}

// text writes a string. Bytes that are no UTF-8 are kept, as a value may have come from a variable with such.
func (e *encoder) text(s string) {
	e.out = append(e.out, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.out = append(e.out, s[from:i]...)
		switch c {
		case '"', '\\':
			e.out = append(e.out, '\\', c)
		case '\n':
			e.out = append(e.out, '\\', 'n')
		case '\t':
			e.out = append(e.out, '\\', 't')
		default:
			e.out = fmt.Appendf(e.out, "\\u%04x", c)
		}
		from = i + 1
	}
	e.out = append(e.out, s[from:]...)
	e.out = append(e.out, '"')
}
