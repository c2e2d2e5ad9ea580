package reuse

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/spelling"
)

// A parameter of a method is a field of its struct with the tag
//
//	policy:"name,alias,..."   its names; the first is the usual one
//
// and with tags that say what it is:
//
//	help:"..."                what it does
//	min:"0" max:"1"           the bounds of a number or of a list's elements
//	above:"0"                 a lower bound that is itself excluded
//	values:"a|b|c"            what a text may be
//	empty:"a"                 the value that an empty text stands for
//	value:"FILE"              what a text without values is
//	default:"any number"      how the default is shown, if not as it is written
//
// Fields are whole numbers, numbers, booleans, texts, and lists of numbers, which are written
// joined by "+". The fields of a struct with the tag policy:"inline" count as the method's own.
type param struct {
	names []string // in lower case, with hyphens
	field reflect.Value
	tag   reflect.StructTag
}

// writer is a method that does not write all its parameters, or not in the order of its fields.
type writer interface {
	// written returns the names of the parameters that matter, in order.
	written() []string
}

// setter is a method that has something to do once a parameter was set.
type setter interface {
	afterSet(name string) error
}

// paramsOf returns the parameters of the struct that p points to.
func paramsOf(p any) []param {
	var list []param
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		switch names := tag.Get("policy"); names {
		case "":
		case "inline":
			list = append(list, paramsOf(v.Field(i).Addr().Interface())...)
		default:
			list = append(list, param{strings.Split(names, ","), v.Field(i), tag})
		}
	}
	return list
}

// find returns the parameter with a name, whose case does not matter and whose underscores are
// hyphens.
func find(list []param, name string) (param, bool) {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	i := slices.IndexFunc(list, func(p param) bool { return slices.Contains(p.names, name) })
	if i < 0 {
		return param{}, false
	}
	return list[i], true
}

// setParam changes one parameter of the method that p points to.
func setParam(p any, name, text string) error {
	list := paramsOf(p)
	found, ok := find(list, name)
	if !ok {
		return unknownParam(list, name)
	}
	value := reflect.New(found.field.Type()).Elem()
	if !parseValue(value, text) || !found.allows(value) {
		return found.refuse(name, text)
	}
	if value.Kind() == reflect.String && value.String() == found.tag.Get("empty") {
		value.SetZero()
	}
	found.field.Set(value)
	if s, ok := p.(setter); ok {
		return s.afterSet(found.names[0])
	}
	return nil
}

// unknownParam reports a name that no parameter has, with the names that there are.
func unknownParam(list []param, name string) error {
	if len(list) == 0 {
		return fmt.Errorf("no parameter %q: there are none", name)
	}
	var names, all []string
	for _, p := range list {
		names, all = append(names, p.names[0]), append(all, p.names...)
	}
	return fmt.Errorf("no parameter %q%s: want %s", name, didYouMean(all, name), oneOf(names))
}

// didYouMean returns the nearest of words as a question in brackets, or "".
func didYouMean(words []string, word string) string {
	if near := spelling.Nearest(words, strings.ToLower(word)); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// oneOf joins words to a choice: "a, b or c".
func oneOf(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return strings.Join(words, "")
}

// parseValue reads text into v, and reports whether it is a value of v's type.
func parseValue(v reflect.Value, text string) bool {
	var err error
	switch v.Kind() {
	case reflect.Int:
		var n int
		n, err = strconv.Atoi(text)
		v.SetInt(int64(n))
	case reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 64)
		v.SetUint(n)
	case reflect.Float64:
		var x float64
		x, err = strconv.ParseFloat(text, 64)
		v.SetFloat(x)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Slice:
		if text == "" {
			return true
		}
		for part := range strings.SplitSeq(text, "+") {
			element := reflect.New(v.Type().Elem()).Elem()
			if !parseValue(element, part) {
				return false
			}
			v.Set(reflect.Append(v, element))
		}
	default:
		v.SetString(text)
	}
	return err == nil
}

// valueText returns v as parseValue reads it.
func valueText(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	var list []string
	for i := range v.Len() {
		list = append(list, strings.Replace(fmt.Sprint(v.Index(i).Interface()), "e+", "e", 1))
	}
	return strings.Join(list, "+")
}

// bound returns the number of a tag, and whether there is one.
func (p param) bound(tag string) (float64, bool) {
	x, err := strconv.ParseFloat(p.tag.Get(tag), 64)
	return x, err == nil
}

// allows reports whether v is a value that the parameter may have.
func (p param) allows(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Int:
		return p.allowsNumber(float64(v.Int()))
	case reflect.Float64:
		return p.allowsNumber(v.Float())
	case reflect.Slice:
		for i := range v.Len() {
			e := v.Index(i)
			if !p.allows(e) || e.Kind() == reflect.Float64 && math.IsInf(e.Float(), 0) {
				return false
			}
		}
	case reflect.String:
		values := p.tag.Get("values")
		return values == "" || v.String() == "" && p.tag.Get("empty") != "" ||
			slices.Contains(strings.Split(values, "|"), v.String())
	}
	return true
}

func (p param) allowsNumber(x float64) bool {
	if low, ok := p.bound("min"); ok && !(x >= low) {
		return false
	}
	if low, ok := p.bound("above"); ok && !(x > low) {
		return false
	}
	if high, ok := p.bound("max"); ok && !(x <= high) {
		return false
	}
	return !math.IsNaN(x)
}

// want says what values the parameter may have.
func (p param) want() string {
	switch p.field.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		if values := p.tag.Get("values"); values != "" {
			return oneOf(strings.Split(values, "|"))
		}
		return p.tag.Get("value")
	case reflect.Slice:
		if p.field.Type().Elem().Kind() == reflect.Int {
			return `whole numbers joined by "+"` + p.bounds()
		}
		return `numbers joined by "+"` + p.bounds()
	case reflect.Float64:
		return "a number" + p.bounds()
	case reflect.Uint64:
		return "a whole number, 0 or more"
	default:
		return "a whole number" + p.bounds()
	}
}

func (p param) bounds() string {
	low, above, high := p.tag.Get("min"), p.tag.Get("above"), p.tag.Get("max")
	switch {
	case low != "" && high != "":
		return ", " + low + " to " + high
	case above != "" && high != "":
		return ", more than " + above + " and up to " + high
	case low != "":
		return ", " + low + " or more"
	case above != "":
		return ", more than " + above
	}
	return ""
}

// refuse reports a value that the parameter may not have.
func (p param) refuse(name, text string) error {
	return fmt.Errorf("%s=%s: want %s", name, text, p.want())
}

// writtenParams returns the names of the parameters that matter to p.
func writtenParams(p any, list []param) []string {
	if w, ok := p.(writer); ok {
		return w.written()
	}
	var names []string
	for _, param := range list {
		names = append(names, param.names[0])
	}
	return names
}

// checkParams reports a parameter of the method that p points to with a value that it may not have.
// Parameters that do not matter may also be zero.
func checkParams(p any) error {
	list := paramsOf(p)
	matter := writtenParams(p, list)
	for _, param := range list {
		i := slices.IndexFunc(matter, func(name string) bool { return slices.Contains(param.names, name) })
		if param.allows(param.field) || i < 0 && param.field.IsZero() {
			continue
		}
		name := param.names[0]
		if i >= 0 {
			name = matter[i]
		}
		return param.refuse(name, valueText(param.field))
	}
	return nil
}

// paramText returns the method that p points to as Parse takes it.
func paramText(method string, p any) string {
	list := paramsOf(p)
	var pairs []string
	for _, name := range writtenParams(p, list) {
		param, _ := find(list, name)
		pairs = append(pairs, name+"="+cmp.Or(valueText(param.field), param.tag.Get("empty")))
	}
	if len(pairs) == 0 {
		return method
	}
	return method + ":" + strings.Join(pairs, ",")
}

// named puts the name of a method before an error.
func named(method string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", method, err)
}
