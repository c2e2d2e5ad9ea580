package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/alecthomas/kong"
)

// bounds are those of numbers that mean the same in every verb. Beyond them a program would run out
// of memory, or compute with what is not a number, before anything could refuse it.
var bounds = map[string]struct{ min, max float64 }{
	"threads":      {0, 4096}, // 0: all processors
	"batch":        {1, 1 << 20},
	"micro-batch":  {1, 1 << 20},
	"cache-memory": {0, 1 << 30}, // MB
	"width":        {4, 1 << 16},
	"depth":        {1, 1 << 12},
	"heads":        {1, 1 << 12},
	"patch":        {1, 1 << 10},
	"epochs":       {1e-9, 1e9},
	"lr":           {1e-12, 1e6},
	"guidance":     {0, 1e6},
	"cfg":          {0, 1e6},
}

// checkBounds reports the first flag that was given a number beyond its bounds.
func checkBounds(k *kong.Context) error {
	for _, p := range k.Path {
		if p.Flag == nil {
			continue
		}
		if d, ok := p.Flag.Target.Interface().(time.Duration); ok && d < 0 {
			return fmt.Errorf("--%s %v: want 0s or more", p.Flag.Name, d)
		}
		b, ok := bounds[p.Flag.Name]
		if !ok {
			continue
		}
		for _, v := range numbers(p.Flag.Target) {
			if !(v >= b.min && v <= b.max) {
				return fmt.Errorf("--%s %.10g: want a number, %.10g to %.10g", p.Flag.Name, v, b.min, b.max)
			}
		}
	}
	return nil
}

// numbers returns the numbers of a flag's value.
func numbers(v reflect.Value) []float64 {
	switch v = reflect.Indirect(v); {
	case v.CanInt():
		return []float64{float64(v.Int())}
	case v.CanFloat():
		return []float64{v.Float()}
	case v.Kind() == reflect.Slice:
		var list []float64
		for i := range v.Len() {
			list = append(list, numbers(v.Index(i))...)
		}
		return list
	}
	return nil
}
