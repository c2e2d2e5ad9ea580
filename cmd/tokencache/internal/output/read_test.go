package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadFolder checks that the images of one run are read, and that a folder of two runs, with a
// gap, or with an image under another's name is refused.
func TestReadFolder(t *testing.T) {
	other := testRun(4)
	other.Identity, other.Texts[0].Value = "07e5", "2"
	for name, test := range map[string]struct {
		change func(dir, otherDir string) error
		want   string // error; "": none
	}{
		"one run": {func(string, string) error { return nil }, ""},
		"two runs": {func(dir, otherDir string) error {
			return os.Rename(filepath.Join(otherDir, "000003.png"), filepath.Join(dir, "000003.png"))
		}, `000003.png: it is of another run than 000000.png: its seed is "1" there and "2" here`},
		"another's name": {func(dir, _ string) error {
			return os.Rename(filepath.Join(dir, "000003.png"), filepath.Join(dir, "000002.png"))
		}, "000002.png: it is image 3 of its run"},
		"a gap": {func(dir, _ string) error {
			return os.Remove(filepath.Join(dir, "000001.png"))
		}, "000001.png is missing, and 000002.png is there"},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := [2]string{t.TempDir(), t.TempDir()}
			for i, run := range []Run{testRun(4), other} {
				s := openSink(t, dirs[i], run, false)
				for image := range 4 {
					add(t, s, image, 3)
				}
				finish(t, s)
				s.Close()
			}
			if err := test.change(dirs[0], dirs[1]); err != nil {
				t.Fatal(err)
			}
			images, err := ReadFolder(dirs[0])
			switch {
			case test.want == "" && (err != nil || len(images.Classes) != 4 || images.Classes[3] != 1):
				t.Errorf("%v, %v", images, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
