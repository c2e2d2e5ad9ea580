package npz

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestText checks that texts are read as they were written, and that the array is what NumPy writes
// of them.
func TestText(t *testing.T) {
	for _, test := range []struct {
		name  string
		texts []string
		dtype string
	}{
		{"none", nil, "<U1"},
		{"empty", []string{"", ""}, "<U1"},
		{"words", []string{"a fish", "", "crème brûlée", "木の家 🏠"}, "<U12"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.npz")
			if err := Write(path, func(w *Writer) error { return PutText(w, "x", test.texts) }); err != nil {
				t.Fatal(err)
			}
			a, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			array, err := a.Array("x")
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadText(array)
			if err != nil || !slices.Equal(got, test.texts) || array.DType.String() != test.dtype {
				t.Errorf("%q of %s, error %v; want %q of %s", got, array.DType, err, test.texts, test.dtype)
			}
			if _, err := Read[int64](array); err == nil && len(got) > 0 {
				t.Error("texts are read as numbers")
			}
		})
	}
	// np.save(f, np.array(["ab", "\u00e9"]))
	want := npy("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }"+strings.Repeat(" ", 60)+"\n",
		[]byte("a\x00\x00\x00b\x00\x00\x00\xe9\x00\x00\x00\x00\x00\x00\x00"))
	path := filepath.Join(t.TempDir(), "numpy.npz")
	if err := Write(path, func(w *Writer) error { return PutText(w, "x", []string{"ab", "é"}) }); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, path)["x.npy"]; !bytes.Equal(got, want) {
		t.Errorf("%q, NumPy writes %q", got, want)
	}
}

// TestTextForms checks the other byte order, and what is refused.
func TestTextForms(t *testing.T) {
	for _, test := range []struct {
		name, descr, shape, data string
		want                     string // the first text, or what the error says
		fails                    bool
	}{
		{"big-endian", ">U2", "(1,)", "\x00\x00\x00a\x00\x00\x00\x00", "a", false},
		{"one number", "<U1", "()", "a\x00\x00\x00", "want texts [n]", true},
		{"numbers", "<u4", "(1,)", "a\x00\x00\x00", "want texts [n]", true},
		{"beyond Unicode", "<U1", "(1,)", "\x00\x00\x11\x00", "Unicode", true},
		{"no characters", "<U0", "(1,)", "", "not supported", true},
		{"too long", "<U65537", "(1,)", "", "not supported", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			array, err := only(npy(dict(test.descr, test.shape), []byte(test.data)))
			if err == nil {
				got, err = ReadText(array)
			}
			switch {
			case test.fails && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			case !test.fails && (err != nil || got[0] != test.want):
				t.Errorf("%q, error %v, want %q", got, err, test.want)
			}
		})
	}
	long := []string{strings.Repeat("x", maxText+1)}
	if err := Write(filepath.Join(t.TempDir(), "a.npz"), func(w *Writer) error { return PutText(w, "x", long) }); err == nil {
		t.Error("a text that is too long is written")
	}
}
