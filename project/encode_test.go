package project_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"berth/project"
)

// fill sets every exported field that v leads to, so that a field added to compose-go's model is covered too.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"a", "b \"quoted\"\n"} {
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem, depth+1)
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), depth+1)
		fill(v.Index(1), depth+1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"k": []any{"x", 1, 2.0, 2.5, true, nil, int64(7), uint64(1 << 63)}}))
	case reflect.String:
		v.SetString("text \\ \u2028 \x01 é 𝄞 \"")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(9)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.1)
	}
}

func roundTrip(t *testing.T, p *project.Project) *project.Project {
	t.Helper()
	data, err := project.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	back, err := project.Decode(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return back
}

func TestEncodeKeepsEveryFieldOfTheModel(t *testing.T) {
	p := &project.Project{}
	fill(reflect.ValueOf(p).Elem(), 0)
	p.Environment = nil
	if back := roundTrip(t, p); !reflect.DeepEqual(p, back) {
		t.Errorf("not the same after decoding")
	}
}

func TestEncodeKeepsWhatLooksLikeNothing(t *testing.T) {
	zero, empty, no := 0, "", false
	p := &project.Project{Project: &types.Project{
		Name: "shop",
		Services: types.Services{"web": {
			Name:   "web",
			Scale:  &zero,
			Attach: &no,
			ContainerSpec: types.ContainerSpec{
				Entrypoint:  types.ShellCommand{},
				Environment: types.MappingWithEquals{"EMPTY": &empty, "BARE": nil},
				Networks:    map[string]*types.ServiceNetworkConfig{"default": nil},
				CapAdd:      []string{},
			},
		}},
		Networks: types.Networks{"default": {}},
		Volumes:  types.Volumes{},
		Extensions: types.Extensions{
			"x-odd": map[string]any{
				"\x00int64": "no number", "nothing": nil, "none": []any{}, "empty": map[string]any{},
				"when": time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), "float32": float32(1.5), "big": 1e300,
			},
		},
	}}
	if back := roundTrip(t, p); !reflect.DeepEqual(p, back) {
		t.Errorf("want %#v\ngot  %#v", p.Project, back.Project)
	}
}

func TestEncodeLeavesTheEnvironmentBehind(t *testing.T) {
	p := &project.Project{Project: &types.Project{Name: "shop", Environment: types.Mapping{"TOKEN": "hush"}}}
	data, err := project.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "hush") {
		t.Errorf("the user's environment is in %s", data)
	}
	if p.Environment["TOKEN"] != "hush" {
		t.Error("Encode changed the project")
	}
}

func TestDecodeTellsWhatItCanNotRead(t *testing.T) {
	for name, text := range map[string]string{
		"an empty text":           "",
		"a text that is cut":      `{"Project":{"Name":"sh`,
		"a wrong type":            `{"Project":{"Name":7}}`,
		"a number out of range":   `{"Project":{"Services":{"a":{"Scale":99999999999999999999}}}}`,
		"something after the end": `{} {}`,
		"a bad escape":            `{"Project":{"Name":"\q"}}`,
	} {
		if _, err := project.Decode([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDecodePassesOverUnknownFields(t *testing.T) {
	p, err := project.Decode([]byte(` { "Later" : {"a":[1,{"b":null}]}, "Legacy":true , "Project":{"Name":"shop\u00e9\ud834\udd1e"}} `))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Legacy || p.Name != "shopé𝄞" {
		t.Errorf("got %v %q", p.Legacy, p.Name)
	}
}

func BenchmarkEncodeAndDecode100Services(b *testing.B) {
	p := load(b, folder(b, "compose.yaml", manyServices(100)), project.Options{})
	data, err := project.Encode(p)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		data, err := project.Encode(p)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := project.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
