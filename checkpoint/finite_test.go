package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	content := map[string][]float32{"a": {1, 2}, "b": {nan, 2, inf, 0}, "c": {-1e30}, "d": {math.MaxFloat32, nan}}
	c := Content{Read: func(name string, dst []float32) error { copy(dst, content[name]); return nil }}
	for _, name := range []string{"a", "b", "c", "d"} {
		c.Tensors = append(c.Tensors, Info{name, F32, []int{len(content[name])}})
	}
	c.Tensors[2].DType = F16 // in which -1e30 is infinite
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, c); err != nil {
		t.Fatal(err)
	}
	f := openTest(t, path)
	var bad *NotFiniteError
	if err := f.NotFinite(); !errors.As(err, &bad) {
		t.Fatalf("error %v", err)
	}
	if d := cmp.Diff([]NotFinite{{"b", 2, 4}, {"c", 1, 1}, {"d", 1, 2}}, bad.Tensors); d != "" {
		t.Error(d)
	}
	if want := "tensor b: 2 of 4 numbers are not finite (NaN or infinite), and 2 more tensors have such numbers"; bad.Error() != want {
		t.Errorf("%q, want %q", bad, want)
	}
	dst := make([]float32, 2)
	if err := ReadFinite(f, "a", dst); err != nil || !slices.Equal(dst, content["a"]) {
		t.Errorf("read %v, %v", dst, err)
	}
	if err := ReadFinite(f, "d", dst); !errors.As(err, &bad) || bad.Tensors[0] != (NotFinite{"d", 1, 2}) {
		t.Errorf("error %v", err)
	}
	if err := openTest(t, wild+"plain.safetensors").NotFinite(); err != nil {
		t.Error(err)
	}
}

// TestFloat8 checks the numbers of 8 bits against those of a file that was widened elsewhere, and
// against their definition.
func TestFloat8(t *testing.T) {
	narrow, wide := openTest(t, wild+"fp8.safetensors"), openTest(t, wild+"widened.safetensors")
	types := map[DType]int{}
	for _, name := range wide.Names() {
		info, _ := narrow.Lookup(name)
		types[info.DType]++
		if !slices.Equal(values(t, narrow, name), values(t, wide, name)) {
			t.Errorf("tensor %s differs", name)
		}
	}
	if types[F8E4] == 0 {
		t.Errorf("types %v, want some %s", types, F8E4)
	}
	for b, want := range map[byte]float32{
		0x00: 0, 0x01: 1.0 / 512, 0x07: 7.0 / 512, 0x08: 1.0 / 64, 0x38: 1, 0x3C: 1.5, 0x7E: 448, 0xB8: -1, 0xFE: -448,
	} {
		if got := float8E4[b]; got != want {
			t.Errorf("E4M3 %#x is %g, want %g", b, got, want)
		}
	}
	for b, want := range map[byte]float32{0x00: 0, 0x01: 1.0 / 65536, 0x3C: 1, 0x3E: 1.5, 0x7B: 57344, 0x7C: float32(math.Inf(1)), 0xBC: -1} {
		dst := make([]float32, 1)
		if F8E5.floats(dst, []byte{b}); dst[0] != want {
			t.Errorf("E5M2 %#x is %g, want %g", b, dst[0], want)
		}
	}
	for b, x := range float8E4 { // all of them are numbers of 16 bits too, as which they are converted
		if back := Float16(ToFloat16(x)); back != x && x == x {
			t.Errorf("E4M3 %#x, %g, is %g as F16", b, x, back)
		}
	}
	if x := float8E4[0x7F]; x == x {
		t.Errorf("E4M3 0x7f is %g, want NaN", x)
	}
}

// TestConvertFloat8 checks that converting keeps the numbers of 8 bits.
func TestConvertFloat8(t *testing.T) {
	to := filepath.Join(t.TempDir(), "x.safetensors")
	left, err := Convert(wild+"fp8.safetensors", to, ConvertOptions{})
	if err != nil || len(left) > 0 {
		t.Fatalf("left out %v, %v", left, err)
	}
	got, want := openTest(t, to), openTest(t, wild+"widened.safetensors")
	for _, name := range want.Names() {
		if !slices.Equal(values(t, got, name), values(t, want, name)) {
			t.Errorf("tensor %s differs", name)
		}
	}
}

// TestConvertRefuses checks that a weight which is not a number, or which the type to write cannot
// hold, is refused before anything is written.
func TestConvertRefuses(t *testing.T) {
	f32 := func(values ...float32) (raw []byte) {
		for _, x := range values {
			raw = F32.put(raw, x)
		}
		return raw
	}
	f64 := func(x float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)) }
	nan := float32(math.NaN())
	for _, c := range []struct {
		name string
		from DType
		raw  []byte
		to   DType
		want string // of the error; "" is for none
	}{
		{"the largest of F16", F32, f32(65519, 1), F16, ""},
		{"beyond F16", F32, f32(1, -65520), F16, "tensor w: its largest number, 65520, would become infinite: F16 holds numbers to 65504; want BF16 or F32"},
		{"beyond F16, as it is", F32, f32(65520), "", ""},
		{"wide in BF16", F32, f32(3e38), BF16, ""},
		{"beyond BF16", F32, f32(math.MaxFloat32), BF16, "BF16 holds numbers to 3.38953e+38; want F32"},
		{"F64 within F32", F64, f64(-1e38), F32, ""},
		{"F64 beyond F32", F64, f64(1e200), F32, "1e+200, would become infinite: F32 holds numbers to 3.40282e+38; no type that can be written holds it"},
		{"F64 beyond F32, as it is", F64, f64(1e200), "", "numbers pass through F32"},
		{"NaN", F32, f32(1, nan), "", "tensor w: 1 of 2 numbers are not finite"},
		{"NaN and beyond", F32, f32(1e5, nan), F16, "tensor w: 1 of 2 numbers are not finite"},
		{"infinite in F64", F64, f64(math.Inf(-1)), F16, "tensor w: 1 of 1 numbers are not finite"},
		{"NaN of 8 bits", F8E4, []byte{0x7F}, "", "tensor w: 1 of 1 numbers are not finite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := fmt.Sprintf(`{"w":{"dtype":%q,"shape":[%d],"data_offsets":[0,%d]}}`,
				c.from, len(c.raw)/c.from.Size(), len(c.raw))
			file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
			from := filepath.Join(t.TempDir(), "from.safetensors")
			if err := os.WriteFile(from, slices.Concat(file, []byte(header), c.raw), 0o644); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(t.TempDir(), "to.safetensors")
			_, err := Convert(from, to, ConvertOptions{DType: c.to})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, missing := os.Stat(to); (missing == nil) != (c.want == "") {
				t.Errorf("written: %v", missing)
			}
		})
	}
}
