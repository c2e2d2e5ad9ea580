package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFilesByNumPy(t *testing.T) {
	type expected struct {
		DType   string    `json:"dtype"`
		Shape   []int     `json:"shape"`
		Fortran bool      `json:"fortran"`
		Sum     float64   `json:"sum"`
		First   []float64 `json:"first_row_major"`
	}
	text, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]expected
	if err := json.Unmarshal(text, &files); err != nil {
		t.Fatal(err)
	}
	for file, arrays := range files {
		a, err := Open(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if got, want := len(a.Names()), len(arrays); got != want {
			t.Errorf("%s: %d arrays, want %d", file, got, want)
		}
		for name, want := range arrays {
			array, err := a.Array(name)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			values, err := Read[float64](array)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			got := expected{array.DType.String(), array.Shape, array.Fortran, 0, values[:len(want.First)]}
			magnitude := 0.0
			for _, v := range values {
				got.Sum += v
				magnitude += math.Abs(v)
			}
			// Sums in another order differ by at most a rounding of 2^-53 per addition; "sum"
			// itself may be off as much.
			if tolerance := 2 * float64(len(values)) * 0x1p-53 * magnitude; math.Abs(got.Sum-want.Sum) <= tolerance {
				got.Sum = want.Sum
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", file, name, diff)
			}
		}
	}
}

func TestOwnElementTypes(t *testing.T) {
	a, err := Open("testdata/adm_samples_labels.npz")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	labels, err := a.Array("arr_1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read[int64](labels)
	if diff := cmp.Diff([]int64{3, 1, 4, 1}, got); err != nil || diff != "" {
		t.Errorf("labels: %v\n%s", err, diff)
	}
	if _, err := Read[uint8](labels); err == nil ||
		!strings.Contains(err.Error(), `array "arr_1": dtype <i8 cannot be read as uint8`) {
		t.Errorf("labels as uint8: error %v", err)
	}
	if _, err := a.Array("arr_2"); err == nil || !strings.Contains(err.Error(), "the file has arr_0, arr_1") {
		t.Errorf("missing array: error %v", err)
	}
}

// npy is a .npy file, version 1, with the given header text and data.
func npy(text string, data []byte) []byte {
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(append(b, text...), data...)
}

func dict(descr, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
}

// only is the one array of a .npy file.
func only(file []byte) (*Array, error) {
	a, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	return a.Array("arr_0")
}

func TestDTypes(t *testing.T) {
	for _, test := range []struct {
		descr string
		data  []byte
		want  []float64
	}{
		{"|b1", []byte{0, 1, 255}, []float64{0, 1, 1}},
		{"|u1", []byte{0, 200}, []float64{0, 200}},
		{"<u1", []byte{7}, []float64{7}},
		{"|i1", []byte{0x80, 0xff, 5}, []float64{-128, -1, 5}},
		{"<u2", []byte{1, 2}, []float64{0x201}},
		{">u2", []byte{1, 2}, []float64{0x102}},
		{"<i2", []byte{0xfe, 0xff}, []float64{-2}},
		{">i4", []byte{0xff, 0xff, 0xff, 0xfd}, []float64{-3}},
		{"<u4", []byte{0, 0, 0, 0x80}, []float64{1 << 31}},
		{">i8", []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, []float64{-1 << 63}},
		{"<u8", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, []float64{1 << 63}},
		{"<f2", []byte{0, 0x3c, 0xff, 0x7b, 1, 0, 0, 0x84, 0, 0x7c, 0, 0xfc},
			[]float64{1, 65504, 0x1p-24, -0x1p-14, math.Inf(1), math.Inf(-1)}},
		{">f2", []byte{0x35, 0x55}, []float64{0x1.554p-2}},
		{">f8", []byte{0xbf, 0xf8, 0, 0, 0, 0, 0, 0}, []float64{-1.5}},
	} {
		t.Run(test.descr, func(t *testing.T) {
			array, err := only(npy(dict(test.descr, fmt.Sprintf("(%d,)", len(test.want))), test.data))
			if err != nil {
				t.Errorf("%s: %v", test.descr, err)
				return
			}
			got, err := Read[float64](array)
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", test.descr, err, diff)
			}
		})
	}
	nan, err := only(npy(dict("<f2", "()"), []byte{1, 0x7c}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read[float32](nan); err != nil || !math.IsNaN(float64(got[0])) {
		t.Errorf("half NaN: %v, %v", got, err)
	}
	large, err := only(npy(dict("<u8", "()"), []byte{0, 0, 0, 0, 0, 0, 0, 0x80}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read[int64](large); err == nil {
		t.Errorf("2^63 as int64: %v, want an error", got)
	}
}

func TestHeaders(t *testing.T) {
	four := make([]byte, 4)
	for _, test := range []struct{ text, fails string }{
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }` + "   \n", ""},
		{`{"shape":(1L,),"fortran_order":True,"descr":"<f4"}`, ""},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': ()}`, ""},
		{`{'descr': '<c8', 'fortran_order': False, 'shape': ()}`, `dtype "<c8" is not supported`},
		{`{'descr': '|O', 'fortran_order': False, 'shape': ()}`, `dtype "|O" is not supported`},
		{`{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}`, "structured dtype [('a', '<f4')]"},
		{`{'descr': '|f4', 'fortran_order': False, 'shape': ()}`, `dtype "|f4"`},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (1)}`, "a number where a tuple should be"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}`, "where ',' or ')' should be"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}`, "is not a size"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}`, "is not a size"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296)}`, "too large"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (0,4294967296,4294967296)}`, "too large"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}`, "takes 4000000000 bytes, the file has 4"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}`, "takes 0 bytes, the file has 4"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (` + strings.Repeat("1,", 65) + `)}`, "more than 64 dimensions"},
		{`{'descr': '<f4', 'fortran_order': 0, 'shape': ()}`, "neither True nor False"},
		{`{'descr': '<f4', 'shape': ()}`, `"fortran_order" is missing`},
		{`{'descr': '<f4', 'descr': '<f4', 'shape': ()}`, `"descr" is given twice`},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}`, "not a key"},
		{`{'descr': '<f4', 'fortran_order': False, 'shape': ()} os.system('x')`, "follows the dictionary"},
		{`{'descr': '<f4`, "no closing quote"},
		{`{'des\x63r': '<f4'}`, "has an escape"},
		{`{'descr'`, "':' should be"},
		{`{`, "is not a string"},
		{``, "'{' should be"},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, err := only(npy(test.text, four))
			switch {
			case err == nil && test.fails != "":
				t.Errorf("%s: no error, want %q", test.text, test.fails)
			case err != nil && (test.fails == "" || !strings.Contains(err.Error(), test.fails)):
				t.Errorf("%s: error %v, want %q", test.text, err, test.fails)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	text := dict("<i2", "(1,)")
	for version := range byte(5) {
		file := append([]byte(npyMagic), version, 0)
		file = binary.LittleEndian.AppendUint32(file, uint32(len(text)))
		file = append(append(file, text...), 3, 0)
		if version == 1 {
			file = npy(text, []byte{3, 0})
		}
		array, err := only(file)
		if known := version >= 1 && version <= 3; known != (err == nil) {
			t.Errorf("version %d: error %v", version, err)
		} else if known {
			if got, err := Read[int64](array); err != nil || got[0] != 3 {
				t.Errorf("version %d: %v, %v", version, got, err)
			}
		}
	}
}

// archive is an .npz file that holds one .npy.
func archive(t testing.TB, method uint16, file []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "arr_0.npy", Method: method})
	if err == nil {
		_, err = w.Write(file)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRows reads rows in random portions, from random places, of an array in every kind of file.
func TestRows(t *testing.T) {
	const rows, size = 37, 6
	numbers := make([]byte, rows*size) // element i of the array is i
	for i := range numbers {
		numbers[i] = byte(i)
	}
	c := npy(dict("|u1", "(37, 2, 3)"), numbers)
	fortran := make([]byte, rows*size)
	for i := range numbers { // index (r, a, b) of shape (37, 2, 3): first index fastest
		r, a, b := i/size, i%size/3, i%3
		fortran[r+rows*(a+2*b)] = byte(i)
	}
	f := npy(strings.Replace(dict("|u1", "(37, 2, 3)"), "False", "True", 1), fortran)
	for name, file := range map[string][]byte{
		"npy": c, "stored": archive(t, zip.Store, c), "deflated": archive(t, zip.Deflate, c),
		"Fortran npy": f, "Fortran deflated": archive(t, zip.Deflate, f),
	} {
		t.Run(name, func(t *testing.T) {
			array, err := only(file)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := array.Seekable(), name == "npy" || name == "stored"; got != want {
				t.Errorf("seekable: %v", got)
			}
			rapid.Check(t, func(t *rapid.T) {
				r, err := array.Rows()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				at := 0
				for range 20 {
					if rapid.Bool().Draw(t, "seek") {
						at = rapid.IntRange(0, rows).Draw(t, "to")
						if err := r.Seek(at); err != nil {
							t.Fatal(err)
						}
					}
					dst := make([]float32, rapid.IntRange(size, 5*size).Draw(t, "room"))
					n, err := Next(r, dst)
					if at == rows {
						if n != 0 || err != io.EOF {
							t.Fatalf("after the last row: %d, %v", n, err)
						}
						continue
					}
					if want := min(len(dst)/size, rows-at); n != want || err != nil {
						t.Fatalf("%d rows, %v; want %d", n, err, want)
					}
					for i, v := range dst[:n*size] {
						if v != float32(numbers[at*size+i]) {
							t.Fatalf("row %d, element %d: %v", at, i, v)
						}
					}
					at += n
				}
			})
			whole, err := Read[uint8](array)
			if err != nil || !slices.Equal(whole, numbers) {
				t.Errorf("read whole: %v, %v", whole, err)
			}
			r, err := array.Rows()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Next(r, make([]uint8, size-1)); err == nil {
				t.Error("room for less than a row: no error")
			}
			if err := r.Seek(rows + 1); err == nil {
				t.Error("row beyond the last: no error")
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	for shape, want := range map[string][2]int{
		"(0, 3)": {0, 3}, "(3, 0)": {3, 0}, "(0,)": {0, 1}, "(9000000, 0)": {9000000, 0},
	} {
		array, err := only(npy(dict("<f4", shape), nil))
		if err != nil {
			t.Errorf("%s: %v", shape, err)
			continue
		}
		if got := [2]int{array.NumRows(), array.RowLen()}; got != want {
			t.Errorf("%s: rows %v, want %v", shape, got, want)
		}
		if got, err := Read[float32](array); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", shape, got, err)
		}
	}
}

// zeros is a file that begins with the given bytes, followed by zeros.
type zeros struct{ start []byte }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.start)) {
		copy(p, z.start[off:])
	}
	return len(p), nil
}

// TestMemory reads arrays of the sizes that evaluation uses, and checks that memory does not grow
// with them.
func TestMemory(t *testing.T) {
	const row, limit = 256 * 256 * 3, 4 << 20 // a row, chunks, and what inflating needs
	start := npy(dict("|u1", "(50000, 256, 256, 3)"), nil)
	stored, err := NewReader(zeros{start}, int64(len(start))+50000*row)
	if err != nil {
		t.Fatal(err)
	}
	packed := archive(t, zip.Deflate, npy(dict("|u1", "(300, 256, 256, 3)"), make([]byte, 300*row)))
	deflated, err := NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]*Archive{"stored": stored, "deflated": deflated} {
		array, err := a.Array("arr_0")
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := array.Rows()
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]uint8, row)
		if err := r.Seek(array.NumRows() - 200); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = Next(r, dst)
		}
		if err != io.EOF || n != 201 {
			t.Errorf("%s: %d rows, then %v", name, n, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > limit {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, used, limit)
		}
	}
}
