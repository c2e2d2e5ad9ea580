package checkpoint

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a little content of every type that is written.
func small() Content {
	return Content{
		Tensors: []Info{
			{
				"a",
				F32,
				[]int{2, 3}}, {"b",
				F16,
				[]int{3}}, {"c",
				BF16,
				[]int{1, 2}}, {"d",
				F64,
				[]int{}}, {"e",
				F32,
				[]int{0, 2},
			},
		},
		Metadata: map[string]string{"format": "pt"},
		Read: func(name string, dst []float32) error {
			for i := range dst {
				dst[i] = float32(i) - float32(name[0])/8
			}
			return nil
		},
	}
}

func TestWriteAndRead(t *testing.T) {
	for _, name := range []string{"x.safetensors", "x.pt"} {
		path := filepath.Join(t.TempDir(), name)
		write := WriteSafetensors
		if name == "x.pt" {
			write = WritePyTorch
		}
		if err := write(path, small()); err != nil {
			t.Fatal(err)
		}
		f := openTest(t, path)
		for _, want := range small().Tensors {
			info, _ := f.Lookup(want.Name)
			if d := cmp.Diff(want, info); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			x := make([]float32, want.Len())
			if err := small().Read(want.Name, x); err != nil {
				t.Fatal(err)
			}
			if got := values(t, f, want.Name); !slices.Equal(got, x) {
				t.Errorf("%s: %s is %v, want %v", name, want.Name, got, x)
			}
		}
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	c := small()
	gone := errors.New("the source is gone")
	c.Read = func(string, []float32) error { return gone }
	for _, write := range []func(string, Content) error{WriteSafetensors, WritePyTorch} {
		if err := write(filepath.Join(dir, "x"), c); !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestHalves goes through all numbers of 16 bits, and through those halfway between two, which
// round to the even one.
func TestHalves(t *testing.T) {
	for b := range 1 << 16 {
		h := uint16(b)
		if x := Float16(h); x != x {
			if y := Float16(ToFloat16(x)); y == y {
				t.Fatalf("NaN %#x became %g", h, y)
			}
		} else if got := ToFloat16(x); got != h {
			t.Fatalf("half %#x is %g, which rounds to %#x", h, x, got)
		}
		if x := BFloat16(h); x == x && ToBFloat16(x) != h {
			t.Fatalf("bfloat16 %#x does not come back", h)
		}
		next := h + 1
		if h&0x7FFF >= 0x7BFF { // the largest, infinity, NaN
			continue
		}
		middle := (float64(Float16(h)) + float64(Float16(next))) / 2
		even := h
		if h&1 == 1 {
			even = next
		}
		if got := ToFloat16(float32(middle)); got != even {
			t.Fatalf("%g, halfway between %#x and %#x, rounds to %#x", middle, h, next, got)
		}
	}
	for x, want := range map[float32]uint16{65519: 0x7BFF, 65520: 0x7C00, 1e10: 0x7C00, float32(math.Inf(-1)): 0xFC00, 1e-10: 0} {
		if got := ToFloat16(x); got != want {
			t.Errorf("%g rounds to %#x, want %#x", x, got, want)
		}
	}
}
