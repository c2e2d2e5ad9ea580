package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// parse opens a file that is only in memory and reads all of it; it returns the first error.
func parse(content []byte) error {
	f, err := NewReader("test", bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		if t, _ := f.Lookup(name); t.DType.Size() == 0 {
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

// mostAllocated is what a damaged file of n bytes may make a reader take: readers' fixed buffers,
// and a multiple of the file.
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

// TestDamagedFiles sets every byte to several others: whatever the reader says, it must not panic,
// hang or take much memory.
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

// TestHostilePickles checks that a pickle is only data and cannot make the reader work for ever.
func TestHostilePickles(t *testing.T) {
	bomb := "\x80\x02]q\x00" // a list that holds two of the one before, forty times
	for i := range 40 {
		bomb += fmt.Sprintf("](h%ch%ceq%c", i, i, i+1)
	}
	for _, c := range []struct{ name, pickle, want string }{
		{"runs a program", "\x80\x02cos\nsystem\nU\x02ls\x85R.", "it holds a os.system, want a dict"},
		{"evaluates", "\x80\x02cbuiltins\neval\nU\x011\x85R.", "it holds a builtins.eval, want a dict"},
		{"another protocol", "\x80\x09.", "protocol 9"},
		{"an extension", "\x80\x02\x82\x01.", "instruction 0x82"},
		{"a list of lists", bomb + ".", "want a dict"},
		{"a list in itself", "\x80\x02]q\x00h\x00a.", "want a dict"},
		{"no tensors", "\x80\x02}.", "no tensors; it holds {}"},
		{"calls a number", "\x80\x02K\x01)R.", "calling an integer"},
		{"a string of 2 GiB", "\x80\x02X\xff\xff\xff\x7f.", "2147483647 bytes are wanted"},
		{"a string of 2^63", "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "bytes are wanted"},
		{"a memo of 2^32", "\x80\x02]r\xff\xff\xff\xff.", "want a dict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := allocated(func() {
				root, err := load(c.pickle)
				if err == nil {
					f := &File{ctx: t.Context(), size: int64(len(c.pickle))}
					var sets []*set
					if sets, err = f.setsIn(root, nil); err == nil {
						err = f.choose(sets, OpenOptions{})
					}
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one with %s", err, c.want)
				}
			})
			if got > 1<<20 {
				t.Errorf("it takes %d bytes of memory", got)
			}
		})
	}
}
