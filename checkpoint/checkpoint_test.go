package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
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
	if _, err := OpenKey(path, "opt"); err == nil || !strings.Contains(err.Error(), `no tensors under "opt"; it holds {args, ema, model, opt}`) {
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

// parse opens a file that is only in memory and reads all of it; it returns the first error.
func parse(content []byte) error {
	f := &File{Path: "test", tensors: map[string]*stored{}}
	head := content[:min(len(content), 32)]
	r, size := bytes.NewReader(content), int64(len(content))
	var err error
	switch {
	case len(head) == 0:
		return errors.New("empty")
	case isZip(head):
		err = f.openZip(r, size, "")
	case isLegacy(head):
		err = f.openLegacy(r, size, "")
	case isSafetensors(head, size):
		err = f.openSafetensors(r, size)
	default:
		return errors.New("unknown format")
	}
	if err != nil {
		return err
	}
	for name := range f.tensors {
		if _, err := f.readable(name); err != nil {
			continue // a type that can be listed only
		}
		if _, err := f.Float32(name); err != nil {
			return err
		}
	}
	return nil
}

// allocated returns the memory that f takes, whether or not it is freed.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// mostAllocated is what a damaged file of n bytes may make a reader take: readers' fixed buffers, and a multiple of the file.
func mostAllocated(n int) uint64 { return 4<<20 + 200*uint64(n) }

func fixtures(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for _, name := range []string{"zip.pt", "legacy.pt", "nested.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, small()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all["x.safetensors"] = b
	return all
}

// small is a little content of every type that is written.
func small() Content {
	return Content{
		Tensors: []Info{
			{"a", F32, []int{2, 3}}, {"b", F16, []int{3}}, {"c", BF16, []int{1, 2}}, {"d", F64, []int{}}, {"e", F32, []int{0, 2}},
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

func TestCutOffFiles(t *testing.T) {
	for name, whole := range fixtures(t) {
		if err := parse(whole); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range whole {
			var err error
			if got := allocated(func() { err = parse(whole[:n]) }); got > mostAllocated(n) {
				t.Fatalf("%s cut to %d bytes takes %d bytes of memory", name, n, got)
			}
			if err == nil {
				t.Errorf("%s cut to %d of %d bytes: no error", name, n, len(whole))
			}
		}
	}
}

// TestDamagedFiles sets every byte to several others: whatever the reader says, it must not panic, hang or take much memory.
func TestDamagedFiles(t *testing.T) {
	for name, whole := range fixtures(t) {
		for i := range whole {
			for _, b := range []byte{0, 0xFF, whole[i] ^ 1, whole[i] ^ 0x80} {
				damaged := slices.Clone(whole)
				damaged[i] = b
				if got := allocated(func() { _ = parse(damaged) }); got > mostAllocated(len(whole)) {
					t.Fatalf("%s with byte %d = %#x takes %d bytes of memory", name, i, b, got)
				}
			}
		}
	}
}

// header makes a safetensors file of a header and n bytes of data.
func header(h string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	return append(append(b, h...), make([]byte, n)...)
}

func TestLyingSafetensors(t *testing.T) {
	for want, file := range map[string][]byte{
		"header of":                  append(binary.LittleEndian.AppendUint64(nil, 1<<62), "{}"...),
		"data_offsets":               header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1000]}}`, 8),
		"takes 12 bytes":             header(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8),
		"negative":                   header(`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8),
		"more elements":              header(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, 8),
		"twice":                      header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8),
		"overlap or leave a hole":    header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12),
		"something lies behind them": header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 12),
		"header":                     header(`{"a":`, 8),
	} {
		if err := parse(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestUnknownTypesAreListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, header(`{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`, 2), 0o644); err != nil {
		t.Fatal(err)
	}
	f := openTest(t, path)
	if info, ok := f.Lookup("a"); !ok || info.DType != "F8_E4M3" {
		t.Errorf("%v %v", info, ok)
	}
	if _, err := f.Float32("a"); err == nil || !strings.Contains(err.Error(), "F8_E4M3") {
		t.Errorf("error %v", err)
	}
}

// TestHostilePickles holds that a pickle can name nothing but what weights need, and cannot make the reader work for ever.
func TestHostilePickles(t *testing.T) {
	bomb := "\x80\x02]q\x00" // a list that holds two of the one before, forty times
	for i := range 40 {
		bomb += fmt.Sprintf("](h%ch%ceq%c", i, i, i+1)
	}
	for want, pickle := range map[string]string{
		`"os.system"`:            "\x80\x02cos\nsystem\nU\x02ls\x85R.",
		`"builtins.eval"`:        "\x80\x02cbuiltins\neval\nU\x011\x85R.",
		`"posix.system"`:         "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
		`"torch.load"`:           "\x80\x02ctorch\nload\n)R.",
		"protocol 9":             "\x80\x09.",
		"instruction":            "\x80\x02i.",
		"want a dict":            bomb + ".",
		"want a dict of tensors": "\x80\x02]q\x00h\x00a.", // a list in itself
	} {
		root, err := newUnpickler(strings.NewReader(pickle), int64(len(pickle))).load()
		if err == nil {
			f := &File{tensors: map[string]*stored{}}
			err = f.choose(root, "", int64(len(pickle)), nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %s", err, want)
		}
	}
	// A string that claims 2 GiB, and a memo that claims a slot of its own at 2^32.
	for _, pickle := range []string{"\x80\x02X\xff\xff\xff\x7f.", "\x80\x02]r\xff\xff\xff\xff.", "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."} {
		if got := allocated(func() { _, _ = newUnpickler(strings.NewReader(pickle), int64(len(pickle))).load() }); got > 1<<20 {
			t.Errorf("pickle %q takes %d bytes of memory", pickle, got)
		}
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

// TestHalves goes through all numbers of 16 bits, and through those halfway between two, which round to the even one.
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
		"not beside the index":  `{"weight_map":{"a":"../m-1.safetensors"}}`,
		"shard m-3.safetensors": `{"weight_map":{"a":"m-3.safetensors"}}`,
		"z is in none":          `{"weight_map":{"z":"m-1.safetensors"}}`,
		"without weight_map":    `{}`,
	} {
		if err := index(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestCheckNamesEverything(t *testing.T) {
	f := openTest(t, "testdata/zip.pt")
	err := Check(f, []Want{
		{Name: "whole", Shape: []int{4, 6}}, {Name: "part", Shape: []int{7}}, {Name: "absent", Shape: []int{1}}, {Name: "maybe", Shape: []int{1}, Optional: true},
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

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pt")
	if err := os.WriteFile(text, []byte("#!/bin/sh\necho this is no checkpoint\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.pt"): "none.pt: no such file",
		dir:                           "a folder, not a file",
		text:                          "unknown format",
		os.DevNull:                    "not a regular file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// FuzzOpen reads files of every format.
func FuzzOpen(f *testing.F) {
	for _, b := range fixtures(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := allocated(func() { _ = parse(b) }); got > mostAllocated(len(b))+64<<20 {
			t.Errorf("a file of %d bytes takes %d bytes of memory", len(b), got)
		}
	})
}

func FuzzSafetensors(f *testing.F) {
	f.Add(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`, 8)
	f.Add(`{"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1,3],"data_offsets":[2,8]}}`, 8)
	f.Fuzz(func(t *testing.T, h string, n int) {
		_ = parse(header(h, n&0xFFFF))
	})
}

func FuzzPickle(f *testing.F) {
	for _, name := range []string{"zip.pt", "nested.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		if i := bytes.Index(b, []byte{opProto, 2}); i >= 0 {
			f.Add(b[i:])
		}
	}
	f.Add([]byte("\x80\x02cos\nsystem\nU\x02ls\x85R."))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := newUnpickler(bytes.NewReader(b), int64(len(b))).load()
		if err != nil {
			return
		}
		file := &File{tensors: map[string]*stored{}}
		_ = file.choose(root, "", int64(len(b)), func(s *storageRef) (placed, error) {
			return placed{section{bytes.NewReader(b), 0}, int64(len(b))}, nil
		})
		for name := range file.tensors {
			_, _ = file.Float32(name)
		}
	})
}

func FuzzLegacy(f *testing.F) {
	b, err := os.ReadFile("testdata/legacy.pt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &File{tensors: map[string]*stored{}}
		if err := file.openLegacy(bytes.NewReader(b), int64(len(b)), ""); err != nil {
			return
		}
		for name := range file.tensors {
			if _, err := file.Float32(name); err == io.EOF {
				t.Errorf("tensor %s ends early without saying what was read", name)
			}
		}
	})
}
