package diffusion

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// tensors is a safetensors file of this package's testdata, as raw little-endian bytes.
type tensors struct {
	t     *testing.T
	name  string
	data  []byte
	where map[string]struct {
		DType   string `json:"dtype"`
		Offsets [2]int `json:"data_offsets"`
	}
}

func readTensors(t *testing.T, name string) tensors {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	header := 8 + int(binary.LittleEndian.Uint64(raw))
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:header], &entries); err != nil {
		t.Fatal(err)
	}
	delete(entries, "__metadata__")
	rest, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	f := tensors{t: t, name: name, data: raw[header:]}
	if err := json.Unmarshal(rest, &f.where); err != nil {
		t.Fatal(err)
	}
	return f
}

func values[T any](f tensors, key, dtype string, size int, decode func([]byte) T) []T {
	f.t.Helper()
	at, ok := f.where[key]
	if !ok || at.DType != dtype {
		f.t.Fatalf("%s: no %s tensor %q", f.name, dtype, key)
	}
	raw := f.data[at.Offsets[0]:at.Offsets[1]]
	out := make([]T, len(raw)/size)
	for i := range out {
		out[i] = decode(raw[i*size:])
	}
	return out
}

func (f tensors) f32(key string) []float32 {
	return values(f, key, "F32", 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
}

func (f tensors) f64(key string) []float64 {
	return values(f, key, "F64", 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
}

func (f tensors) i64(key string) []int64 {
	return values(f, key, "I64", 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
}

// normals is a deterministic vector of n standard normal numbers.
func normals(seed uint64, n int) []float32 {
	x := make([]float32, n)
	NewStream(seed, 0).Normal(x)
	return x
}
