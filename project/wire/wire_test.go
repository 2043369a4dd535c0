package wire_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/project/wire"
)

type inner struct {
	N *int
	M map[string]*string
}

type outer struct {
	inner   // not exported: stays behind
	Named   inner
	List    []inner
	Text    string `json:"-"`
	Any     any
	Float   float32
	Enabled *bool
	secret  string
}

func TestValuesComeBackTheSame(t *testing.T) {
	zero, no, empty := 0, false, ""
	for name, in := range map[string]outer{
		"nothing":                         {},
		"pointers to zero":                {Named: inner{N: &zero, M: map[string]*string{"a": &empty, "b": nil}}, Enabled: &no},
		"empty lists and maps":            {List: []inner{}, Named: inner{M: map[string]*string{}}},
		"a field that its tag leaves out": {Text: "x"},
		"texts with all sorts of letters": {Text: "\x00\x1f\"\\/\n\r\té𝄞\u2028\xff"},
		"a float":                         {Float: 0.1},
		"values of any type": {Any: map[string]any{"i": 1, "f": 1.0, "big": uint64(math.MaxUint64), "i64": int64(1), "f32": float32(0.5), "inf": math.Inf(1),
			"t": time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), "n": nil, "b": true, "l": []any{}, "m": map[string]any{"\x00int64": "a text"}}},
	} {
		data, err := wire.Marshal(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var out outer
		if err := wire.Unmarshal(data, &out); err != nil {
			t.Errorf("%s: %v in %s", name, err, data)
		}
		if !reflect.DeepEqual(in, out) {
			t.Errorf("%s: %+v became %+v by %s", name, in, out, data)
		}
	}
}

func TestFieldsThatAreNotExportedStayBehind(t *testing.T) {
	data, err := wire.Marshal(outer{secret: "hush", Text: "x"})
	if err != nil || strings.Contains(string(data), "hush") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestWhatHasNoFormIsAnError(t *testing.T) {
	for name, v := range map[string]any{
		"a function":              outer{Any: func() {}},
		"a number that is none":   struct{ F float64 }{math.NaN()},
		"a map with numbers keys": struct{ M map[int]string }{map[int]string{1: "a"}},
	} {
		if data, err := wire.Marshal(v); err == nil {
			t.Errorf("%s became %s", name, data)
		}
	}
}

func TestWhatIsNotWholeIsAnError(t *testing.T) {
	whole, err := wire.Marshal(outer{Text: "a\n", List: []inner{{}}, Any: []any{1, "x", map[string]any{"a": 2.5}}, Float: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		var out outer
		if err := wire.Unmarshal(whole[:i], &out); err == nil {
			t.Errorf("%s is taken for whole", whole[:i])
		}
	}
	for name, text := range map[string]string{"a wrong type": `{"Text":7}`, "a bad escape": `{"Text":"\q"}`, "too large": `{"Named":{"N":99999999999999999999}}`,
		"more than one": `{} {}`, "an unknown mark": `{"Any":{"\u0000what":"x"}}`, "no number": `{"Any":1x}`,
		"too deep": `{"Any":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}"} {
		var out outer
		if err := wire.Unmarshal([]byte(text), &out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	var out outer
	if err := wire.Unmarshal([]byte(` { "Later" : {"a":[1,{"b":null}]}, "Text":"\u00e9\ud834\udd1e" } `), &out); err != nil || out.Text != "é𝄞" {
		t.Errorf("%q, %v", out.Text, err)
	}
}
