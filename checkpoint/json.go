package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A Wanter is a type that says in words what it is read from in JSON.
type Wanter interface{ Wants() string }

// UnmarshalText is json.Unmarshal of a text that lies next to weights, for people: an error names
// the text's source, the key, what is there and what is wanted. It passes over UTF-8's byte order
// mark, and a text without content is an error. A json.Unmarshaler whose value is not what it wants
// returns a *json.UnmarshalTypeError with [JSONValue] of it.
func UnmarshalText(source string, text []byte, v any) error {
	if bytes.HasPrefix(text, []byte{0xFF, 0xFE}) || bytes.HasPrefix(text, []byte{0xFE, 0xFF}) {
		return fmt.Errorf("%s: UTF-16, want UTF-8", source)
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if len(bytes.TrimSpace(text)) == 0 {
		return fmt.Errorf("%s: empty, want JSON", source)
	}
	err := json.Unmarshal(text, v)
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(text[:min(max(syntax.Offset-1, 0), int64(len(text)))], []byte("\n"))
		return fmt.Errorf("%s: not JSON: line %d: %w", source, line, err)
	case errors.As(err, &typed) && typed.Field == "":
		return fmt.Errorf("%s: %s, want %s", source, found(typed.Value), wanted(typed.Type))
	case errors.As(err, &typed):
		return fmt.Errorf("%s: %s is %s, want %s", source, Clean(typed.Field), found(typed.Value), wanted(typed.Type))
	case err != nil:
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

// JSONValue describes a value of JSON, for an error.
func JSONValue(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '"':
		return "the text " + Clean(string(raw))
	case raw[0] == '[':
		var b bytes.Buffer
		if json.Compact(&b, raw) != nil {
			return "a list"
		}
		return "the list " + Clean(b.String())
	case raw[0] == '{':
		return "an object"
	case raw[0] == 't', raw[0] == 'f', raw[0] == 'n':
		return string(raw)
	}
	return "the number " + Clean(string(raw))
}

// found returns a value as json.Unmarshal describes it, or JSONValue did, in words.
func found(value string) string {
	switch value {
	case "string":
		return "a text"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	case "number":
		return "a number"
	}
	if number, ok := strings.CutPrefix(value, "number "); ok {
		return "the number " + Clean(number)
	}
	return value
}

// wanted says what a Go type is read from.
func wanted(t reflect.Type) string {
	if w, ok := reflect.Zero(t).Interface().(Wanter); ok {
		return w.Wants()
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Int32, reflect.Uint32:
		return "a whole number"
	case reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object of keys and values"
}
