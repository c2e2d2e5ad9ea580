package reuse_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestCacheBytes checks that the memory that policies say they take is what their runs hold.
func TestCacheBytes(t *testing.T) {
	const samples = 64
	for _, c := range []struct {
		arch  dit.Arch
		cache tensor.DType
	}{{dit.ArchDiT, tensor.F32}, {dit.ArchDiT, tensor.BF16}, {dit.ArchMDTv2, tensor.F32}, {archMiniT2I, tensor.F32}} {
		arch, m := c.arch, modelOf(t, c.arch)
		m.Shape().Cache = c.cache
		b := inputs(m, samples)[0]
		pool := tensor.NewPool(1)
		defer pool.Close()
		g := tensor.NewGraph(pool)
		for _, text := range policies {
			t.Run(fmt.Sprintf("%s/%v/%s", arch, c.cache, text), func(t *testing.T) {
				p := made(t, m, text)
				bytes, err := p.CacheBytes(m, plan, samples)
				if keeps := p.Kind() != reuse.Uncached && p.Kind() != reuse.Merges; err != nil || keeps != (bytes > 0) {
					t.Fatalf("a cache of %d bytes (%v)", bytes, err)
				}
				run, err := p.NewRun(m, plan, samples)
				if err != nil {
					t.Fatal(err)
				}
				g.Reset()
				run.Begin(g, b, make([]int, samples)) // which makes the KV cache
				held := newHeap(m, g, b, p).held(reflect.ValueOf(run))
				// Lists of rows, scores and the like come on top: less than a tenth at any real
				// width.
				slack := int64(samples * m.Shape().Tokens * (m.Shape().Blocks*16 + 96))
				if held < bytes || held > bytes+slack {
					t.Errorf("CacheBytes says %d, the run holds %d", bytes, held)
				}
			})
		}
	}
}

// heap sums the memory of slices.
type heap map[uintptr]bool // what was counted, and what is not to be

// newHeap returns the heap on which a model, a Graph with a batch and a policy were there before.
func newHeap(m net, g *tensor.Graph, b *seam.Batch, p reuse.Policy) heap {
	h := heap{}
	for _, v := range []any{m, m.Shape(), g, b, p} {
		if v := reflect.ValueOf(v); v.Kind() == reflect.Pointer {
			h[v.Pointer()] = true
		}
	}
	if t, ok := p.(*reuse.TokenCache); ok {
		for _, v := range []any{t.Predictor, t.Forecast} {
			h[reflect.ValueOf(v).Pointer()] = true
		}
	}
	return h
}

// held returns the memory of all slices that can be reached from v and were not counted.
func (h heap) held(v reflect.Value) (bytes int64) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !h[v.Pointer()] {
			h[v.Pointer()] = true
			bytes += h.held(v.Elem())
		}
	case reflect.Interface:
		bytes += h.held(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			bytes += h.held(v.Field(i))
		}
	case reflect.Array, reflect.Slice:
		if v.Kind() == reflect.Slice {
			if v.Cap() == 0 || h[v.Pointer()] {
				return 0
			}
			h[v.Pointer()] = true
			bytes += int64(v.Cap()) * int64(v.Type().Elem().Size())
		}
		switch v.Type().Elem().Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Array, reflect.Slice:
			for i := range v.Len() {
				bytes += h.held(v.Index(i))
			}
		}
	}
	return bytes
}
