package reuse

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Parameters of a method are the fields of its struct that have the tag `policy:"name"`: whole numbers, numbers, booleans and texts.

// eachParam calls f for every parameter of the struct that p points to.
func eachParam(p any, f func(name string, v reflect.Value)) {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("policy"); name != "" {
			f(name, v.Field(i))
		}
	}
}

// setParam changes one parameter of the method that p points to.
func setParam(method string, p any, key, value string) error {
	var names []string
	found := false
	var err error
	eachParam(p, func(name string, v reflect.Value) {
		names = append(names, name)
		if name != key {
			return
		}
		found = true
		switch v.Kind() {
		case reflect.Int:
			var n int
			if n, err = strconv.Atoi(value); err == nil {
				v.SetInt(int64(n))
			}
		case reflect.Float64:
			var x float64
			if x, err = strconv.ParseFloat(value, 64); err == nil {
				v.SetFloat(x)
			}
		case reflect.Bool:
			var b bool
			if b, err = strconv.ParseBool(value); err == nil {
				v.SetBool(b)
			}
		default:
			v.SetString(value)
		}
	})
	switch {
	case !found:
		return fmt.Errorf("%s has no parameter %q: want %s", method, key, strings.Join(names, ", "))
	case err != nil:
		return fmt.Errorf("%s: %s=%s: not a value of that parameter", method, key, value)
	}
	return nil
}

// paramText returns the method that p points to as Parse takes it.
func paramText(method string, p any) string {
	var list []string
	eachParam(p, func(name string, v reflect.Value) { list = append(list, fmt.Sprintf("%s=%v", name, v.Interface())) })
	if len(list) == 0 {
		return method
	}
	return method + ":" + strings.Join(list, ",")
}
