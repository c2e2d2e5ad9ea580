package eval

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
)

// recorded are arrays of a file in testdata, which is described there, and the numbers that belong
// to them.
type recorded struct {
	t      *testing.T
	arrays *npz.Archive
}

func openRecorded(t *testing.T, name string, expected any) *recorded {
	t.Helper()
	a, err := npz.Open(filepath.Join("testdata", name+".npz"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if expected != nil {
		text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, expected); err != nil {
			t.Fatal(err)
		}
	}
	return &recorded{t, a}
}

func arrayOf[T npz.Element](r *recorded, name string) ([]T, []int) {
	r.t.Helper()
	a, err := r.arrays.Array(name)
	if err != nil {
		r.t.Fatal(err)
	}
	x, err := npz.Read[T](a)
	if err != nil {
		r.t.Fatal(err)
	}
	return x, a.Shape
}
