package model

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/types"
)

// gatherExtensions moves the keys "x-..." of mappings into one of their own, as the model has them.
func gatherExtensions(tree map[string]any) map[string]any {
	for key, value := range tree {
		switch key {
		case "services":
			all, _ := value.(map[string]any)
			for _, item := range all {
				gatherIn(item, true)
			}
		case "volumes", "networks", "secrets", "configs":
			// Their keys are names.
			all, _ := value.(map[string]any)
			for _, item := range all {
				gatherIn(item, false)
			}
		default:
			if !strings.HasPrefix(key, "x-") {
				gatherIn(value, false)
			}
		}
	}
	gatherHere(tree)
	return tree
}

func gatherIn(value any, service bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			if service && key == "depends_on" {
				needs, _ := item.(map[string]any)
				for _, need := range needs {
					gatherIn(need, false)
				}
				continue
			}
			if !strings.HasPrefix(key, "x-") {
				gatherIn(item, false)
			}
		}
		gatherHere(v)
	case []any:
		for _, item := range v {
			if m, ok := item.(map[string]any); ok {
				gatherIn(m, false)
			}
		}
	}
}

func gatherHere(m map[string]any) {
	var found map[string]any
	for key, value := range m {
		if strings.HasPrefix(key, "x-") {
			if found == nil {
				found = map[string]any{}
			}
			found[key] = value
			delete(m, key)
		}
	}
	if found != nil {
		m[consts.Extensions] = found
	}
}

// bind puts a tree into a value of the model: result is a pointer to it.
func bind(tree, result any) error {
	d := decoder{plans: map[reflect.Type]*plan{}}
	return d.decode(tree, reflect.ValueOf(result).Elem(), "")
}

// decoder sets values of the model.
type decoder struct{ plans map[reflect.Type]*plan }

// selfDecoder is a type of the model that knows short forms.
type selfDecoder interface{ DecodeMapstructure(any) error }

var (
	selfDecoderType = reflect.TypeFor[selfDecoder]()
	servicesType    = reflect.TypeFor[types.Services]()
	jobsType        = reflect.TypeFor[types.Jobs]()
	secretType      = reflect.TypeFor[types.SecretConfig]()
)

// decode sets out to what a tree says. Nothing said leaves it as it is.
func (d *decoder) decode(tree any, out reflect.Value, at string) error {
	if tree == nil {
		return nil
	}
	t := out.Type()
	if reflect.PointerTo(t).Implements(selfDecoderType) {
		if err := out.Addr().Interface().(selfDecoder).DecodeMapstructure(tree); err != nil {
			return fault(at, err.Error())
		}
		return nil
	}
	switch out.Kind() {
	case reflect.Pointer:
		if out.IsNil() {
			out.Set(reflect.New(t.Elem()))
		}
		return d.decode(tree, out.Elem(), at)
	case reflect.Struct:
		return d.decodeStruct(tree, out, at)
	case reflect.Map:
		return d.decodeMap(tree, out, at)
	case reflect.Slice:
		return d.decodeSlice(tree, out, at)
	case reflect.Interface:
		out.Set(reflect.ValueOf(tree))
		return nil
	}
	return decodeScalar(tree, out, at)
}

func fault(at, text string) error {
	return fmt.Errorf("'%s' %s", at, text)
}

func mismatch(tree any, out reflect.Value, at string) error {
	return fault(at, fmt.Sprintf("expected type '%s', got unconvertible type '%T'", out.Type(), tree))
}

func (d *decoder) decodeStruct(tree any, out reflect.Value, at string) error {
	m, ok := tree.(map[string]any)
	if !ok {
		return fault(at, fmt.Sprintf("expected a map or struct, got %q", reflect.TypeOf(tree).Kind()))
	}
	if out.Type() == secretType {
		m = secretContent(m)
	}
	plan := d.planOf(out.Type())
	var errs []error
	for key, value := range m {
		index, ok := plan.fields[key]
		if !ok {
			if index, ok = plan.folded[strings.ToLower(key)]; !ok {
				continue
			}
			if _, exact := m[plan.names[strings.ToLower(key)]]; exact {
				continue
			}
		}
		if err := d.decode(value, out.FieldByIndex(index), join(at, key)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// secretContent gives a secret that is made from a variable its value, which is kept among the extensions on the way here.
func secretContent(m map[string]any) map[string]any {
	extensions, _ := m[consts.Extensions].(map[string]any)
	value, ok := extensions[types.SecretConfigXValue].(string)
	if !ok {
		return m
	}
	m["Content"] = value
	delete(extensions, types.SecretConfigXValue)
	if len(extensions) == 0 {
		delete(m, consts.Extensions)
	}
	return m
}

func (d *decoder) decodeMap(tree any, out reflect.Value, at string) error {
	m, ok := tree.(map[string]any)
	if !ok {
		return mismatch(tree, out, at)
	}
	t := out.Type()
	result := reflect.MakeMapWithSize(t, len(m))
	var errs []error
	for key, value := range m {
		if t == servicesType || t == jobsType {
			if spec, ok := value.(map[string]any); ok {
				spec["name"] = key
			}
		}
		item := reflect.New(t.Elem()).Elem()
		if err := d.decode(value, item, at+"["+key+"]"); err != nil {
			errs = append(errs, err)
			continue
		}
		result.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), item)
	}
	out.Set(result)
	return errors.Join(errs...)
}

func (d *decoder) decodeSlice(tree any, out reflect.Value, at string) error {
	list, ok := tree.([]any)
	if !ok {
		return fault(at, fmt.Sprintf("source data must be an array or slice, got %s", reflect.TypeOf(tree).Kind()))
	}
	if list == nil {
		return nil
	}
	result := reflect.MakeSlice(out.Type(), len(list), len(list))
	var errs []error
	for i, item := range list {
		if err := d.decode(item, result.Index(i), at+"["+strconv.Itoa(i)+"]"); err != nil {
			errs = append(errs, err)
		}
	}
	out.Set(result)
	return errors.Join(errs...)
}

// decodeScalar takes a text for a number or a boolean where one is wanted, since variables give texts.
func decodeScalar(tree any, out reflect.Value, at string) error {
	if text, ok := tree.(string); ok {
		value, err := fromText(text, out.Kind())
		if err != nil {
			return fault(at, err.Error())
		}
		tree = value
	}
	in := reflect.ValueOf(tree)
	switch kind := out.Kind(); {
	case kind == reflect.String && in.Kind() == reflect.String:
		out.SetString(in.String())
	case kind == reflect.String && in.Kind() == reflect.Int:
		out.SetString(strconv.FormatInt(in.Int(), 10))
	case kind == reflect.Bool && in.Kind() == reflect.Bool:
		out.SetBool(in.Bool())
	case out.CanInt() && in.CanInt():
		out.SetInt(in.Int())
	case out.CanInt() && in.CanUint():
		out.SetInt(int64(in.Uint()))
	case out.CanInt() && in.CanFloat():
		out.SetInt(int64(in.Float()))
	case out.CanUint() && in.CanInt() && in.Int() >= 0:
		out.SetUint(uint64(in.Int()))
	case out.CanUint() && in.CanUint():
		out.SetUint(in.Uint())
	case out.CanUint() && in.CanFloat() && in.Float() >= 0:
		out.SetUint(uint64(in.Float()))
	case out.CanFloat() && in.CanInt():
		out.SetFloat(float64(in.Int()))
	case out.CanFloat() && in.CanUint():
		out.SetFloat(float64(in.Uint()))
	case out.CanFloat() && in.CanFloat():
		out.SetFloat(in.Float())
	default:
		return mismatch(tree, out, at)
	}
	return nil
}

func fromText(text string, kind reflect.Kind) (any, error) {
	switch kind {
	case reflect.Bool:
		b, _, err := parseBool(text)
		return b, err
	case reflect.Int:
		return strconv.Atoi(text)
	case reflect.Int64:
		return strconv.ParseInt(text, 10, 64)
	case reflect.Float32:
		f, err := strconv.ParseFloat(text, 32)
		return float32(f), err
	case reflect.Float64:
		return strconv.ParseFloat(text, 64)
	}
	return text, nil
}

// plan tells where the keys of a mapping go in a struct.
type plan struct {
	fields map[string][]int // by the name in the tag
	folded map[string][]int // by the name in lower case, since the names of fields count in any case
	names  map[string]string
}

func (d *decoder) planOf(t reflect.Type) *plan {
	p := d.plans[t]
	if p == nil {
		p = &plan{fields: map[string][]int{}, folded: map[string][]int{}, names: map[string]string{}}
		p.add(t, nil)
		d.plans[t] = p
	}
	return p
}

func (p *plan) add(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(prefix[:len(prefix):len(prefix)], i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			p.add(f.Type, index)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			name = f.Name
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		p.fields[name] = index
		p.folded[strings.ToLower(name)] = index
		p.names[strings.ToLower(name)] = name
	}
}
