package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openTest(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func values(t testing.TB, f *File, name string) []float32 {
	t.Helper()
	x, err := f.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestPyTorchFiles(t *testing.T) {
	whole := make([]float32, 24)
	for i := range whole {
		whole[i] = float32(i)
	}
	var transposed []float32
	for c := range 6 {
		for r := range 4 {
			transposed = append(transposed, whole[r*6+c])
		}
	}
	want := map[string]struct {
		info   Info
		values []float32
	}{
		"whole":      {Info{"whole", F32, []int{4, 6}}, whole},
		"transposed": {Info{"transposed", F32, []int{6, 4}}, transposed},
		"part":       {Info{"part", F32, []int{6}}, whole[3:9]},
		"column":     {Info{"column", F32, []int{4}}, []float32{2, 8, 14, 20}},
		"half":       {Info{"half", F16, []int{5}}, []float32{-2, -1, 0, 1, 2}},
		"bf":         {Info{"bf", BF16, []int{5}}, []float32{-2, -1, 0, 1, 2}},
		"double":     {Info{"double", F64, []int{2}}, []float32{1.5, -2.25}},
		"ints":       {Info{"ints", I64, []int{3}}, []float32{1, -2, 3}},
		"scalar":     {Info{"scalar", F32, []int{}}, []float32{3.5}},
		"empty":      {Info{"empty", F32, []int{0, 3}}, []float32{}},
	}
	for _, path := range []string{"testdata/zip.pt", "testdata/legacy.pt"} {
		f := openTest(t, path)
		if len(f.Names()) != len(want) {
			t.Errorf("%s: tensors %v", path, f.Names())
		}
		for name, w := range want {
			info, _ := f.Lookup(name)
			if d := cmp.Diff(w.info, info); d != "" {
				t.Errorf("%s: %s", path, d)
			}
			if got := values(t, f, name); !slices.Equal(got, w.values) {
				t.Errorf("%s: %s is %v, want %v", path, name, got, w.values)
			}
		}
		ints, err := f.Int64("ints")
		if err != nil || !slices.Equal(ints, []int64{1, -2, 3}) {
			t.Errorf("%s: ints %v, %v", path, ints, err)
		}
		for name, want := range map[string][]float64{"double": {1.5, -2.25}, "half": {-2, -1, 0, 1, 2}} {
			if got, err := f.Float64(name); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %s in double precision is %v, %v", path, name, got, err)
			}
		}
		if _, err := f.Int64("half"); err == nil {
			t.Errorf("%s: halves were read as integers", path)
		}
		if err := f.Read("whole", make([]float32, 23)); err == nil || !strings.Contains(err.Error(), "tensor whole: shape [4 6] has 24 elements, want 23") {
			t.Errorf("%s: reading into the wrong length: %v", path, err)
		}
	}
}

func TestNestedDicts(t *testing.T) {
	const path = "testdata/nested.pt"
	f := openTest(t, path)
	if got := values(t, f, "w"); !slices.Equal(got, []float32{1, 1}) || f.Note != "ema of {args, ema, model, opt}" {
		t.Errorf("took %v: %q", got, f.Note)
	}
	args := f.Entries()[slices.IndexFunc(f.Entries(), func(e Entry) bool { return e.Name == "args" })]
	if want := `argparse.Namespace(model="DiT-XL/2", lr=0.0001)`; args.Value != want {
		t.Errorf("args are %s, want %s", args.Value, want)
	}
	m, err := OpenKey(path, "model")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := values(t, m, "w"); !slices.Equal(got, []float32{0, 0}) {
		t.Errorf("model is %v", got)
	}
	if _, err := OpenKey(path, "opt"); err == nil || !strings.Contains(err.Error(), `no weights under "opt"; there are weights under`) {
		t.Errorf("error %v", err)
	}
}

func TestOneModelInThreeFormats(t *testing.T) {
	const dir = "../testdata/dit-tiny/"
	a, b, c := openTest(t, dir+"model.safetensors"), openTest(t, dir+"model.pt"), openTest(t, dir+"checkpoint.pt")
	for _, f := range []*File{b, c} {
		if !slices.Equal(a.Names(), f.Names()) {
			t.Fatalf("%s has other tensors", f.Path)
		}
		for _, name := range a.Names() {
			if !slices.Equal(values(t, a, name), values(t, f, name)) {
				t.Errorf("%s: tensor %s differs", f.Path, name)
			}
		}
	}
}

func TestUnknownTypesAreListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, header(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,2]}}`, 2), 0o644); err != nil {
		t.Fatal(err)
	}
	f := openTest(t, path)
	if info, ok := f.Lookup("a"); !ok || info.DType != "F4" {
		t.Errorf("%v %v", info, ok)
	}
	if _, err := f.Float32("a"); err == nil || !strings.Contains(err.Error(), "F4") {
		t.Errorf("error %v", err)
	}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	one, two := small(), small()
	one.Tensors, two.Tensors = one.Tensors[:2], two.Tensors[2:]
	for name, c := range map[string]Content{"m-1.safetensors": one, "m-2.safetensors": two} {
		if err := WriteSafetensors(filepath.Join(dir, name), c); err != nil {
			t.Fatal(err)
		}
	}
	index := func(content string) error {
		path := filepath.Join(dir, "model.safetensors.index.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err == nil {
			defer f.Close()
			for _, w := range small().Tensors {
				if _, err := f.Float32(w.Name); err != nil {
					return err
				}
			}
		}
		return err
	}
	if err := index(`{"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","c":"m-2.safetensors","d":"m-2.safetensors"}}`); err != nil {
		t.Error(err)
	}
	for want, content := range map[string]string{
		"not in the folder of the index": `{"weight_map":{"a":"../m-1.safetensors"}}`,
		"shard m-3.safetensors":          `{"weight_map":{"a":"m-3.safetensors"}}`,
		"z is in none":                   `{"weight_map":{"z":"m-1.safetensors"}}`,
		"without weight_map":             `{}`,
	} {
		if err := index(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestCheckNamesEverything(t *testing.T) {
	f := openTest(t, "testdata/zip.pt")
	err := Check(f, []Want{
		{
			Name:  "whole",
			Shape: []int{4, 6}}, {Name: "part",
			Shape: []int{7}}, {Name: "absent",
			Shape: []int{1}}, {Name: "maybe",
			Shape:    []int{1},
			Optional: true,
		},
	}, func(name string) bool { return name != "ints" })
	var m *MismatchError
	if !errors.As(err, &m) {
		t.Fatalf("error %v", err)
	}
	want := MismatchError{Missing: []string{"absent"}, Unexpected: []string{"ints"}, Misshapen: []string{"part: shape [6], want [7]"}}
	if d := cmp.Diff(want, *m); d != "" {
		t.Error(d)
	}
	if s := err.Error(); s != "1 tensors missing: absent; 1 unexpected: ints; 1 of the wrong shape: part: shape [6], want [7]" {
		t.Error(s)
	}
}

// TestOtherFormats checks that a file of another format is called by its name, with what to do.
func TestOtherFormats(t *testing.T) {
	tar := append([]byte("model.safetensors"), make([]byte, 500)...)
	copy(tar[257:], "ustar")
	for content, want := range map[string]string{
		"GGUF\x03\x00\x00\x00" + strings.Repeat("\x00", 90):                  "a GGUF file",
		"\x89HDF\r\n\x1a\n" + strings.Repeat("\x00", 90):                     "an HDF5 file",
		"\x93NUMPY\x01\x00v\x00{'descr'":                                     "an array of NumPy",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + strings.Repeat("x", 90): "gzip: unpack it first",
		string(tar):                                   "a tar archive: unpack it first",
		"<!DOCTYPE html><html>Not Found</html>":       "a web page, not weights: the download failed",
		"\r\n <html>":                                 "a web page",
		"Entry not found":                             `text that begins with "Entry not found"`,
		"PK\x05\x06" + strings.Repeat("\x00", 18):     "an empty zip archive",
		strings.Repeat("\x00", 1000):                  "it begins with zeros",
		"\x80\x04\x95*\x00\x00\x00\x00\x00\x00\x00}.": "a bare pickle",
		"\x01\xff\xfe\xfd\xff\xff\xff\xff\x00":        "unknown format",
	} {
		if _, err := openBytes([]byte(content), OpenOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want one with %q", content, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pt")
	if err := os.WriteFile(text, []byte("#!/bin/sh\necho this is no checkpoint\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.pt"): "none.pt: no such file",
		dir:                           "a folder, not a regular file",
		text:                          "text that begins with \"#!/bin/sh",
		os.DevNull:                    "not a regular file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
