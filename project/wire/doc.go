// Package wire writes Go values as JSON and reads them back the same, whatever their tags and marshalers say.
//
// It owns the form: objects with Go's field names, zero fields left out, pointers to zero and empty maps kept, and a
// mark for values in an `any` whose type JSON has no word for. It knows nothing of compose: it is there because the
// tags of compose-go's model leave out fields that the engine needs. Entry points: Marshal and Unmarshal.
//
// What is read is reflect.DeepEqual to what was written, if it is made of structs, maps with text keys, slices,
// pointers, texts, numbers, booleans, and `any` with what YAML gives. Fields that aren't exported don't travel. A field
// that the reader doesn't have is passed over, so that an older reader copes with a newer writer.
package wire
