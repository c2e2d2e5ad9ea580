// Package output puts a run's images where the user asked for them: a folder of PNG files with a
// sheet, one sheet, or an npz file. Images may come in any order. It knows which of them an
// interrupted run has already made.
package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/raster"
)

// Run says what the images of a run are, beyond their pixels.
type Run struct {
	Classes []int    // the class of each image
	Names   []string // of all classes, or nil
	// Identity is tokencache.Pipeline.Identity: it tells the images of one run from those of another.
	Identity string
	Texts    []raster.Text // describe the run for people; every PNG file has them
	Labels   bool          // an npz file also gets the classes, as arr_1
}

// Sink takes the images of a run as they are finished, in any order.
type Sink interface {
	// Have reports whether image i was there when the sink was opened, from a run that was
	// interrupted. It may be called from any goroutine, also during Add.
	Have(i int) bool
	// Add takes image i, which must not be there, and keeps m. The texts are what is known of it only
	// now; of the formats only PNG files of one image have them.
	Add(i int, m *raster.Image, found ...raster.Text) error
	// Finish is called once, after the last image. Without it nothing but whole files of finished
	// images is left behind. It returns the paths to show the user.
	Finish() ([]string, error)
	// Close frees what Finish or an error left open.
	Close() error
}

// Open returns the sink for path: FILE.npz, FILE.png, or a folder. With resume it takes up what an
// interrupted run of the same identity left there; what another run left is an error.
func Open(path string, run Run, resume bool) (Sink, error) {
	ext := strings.ToLower(filepath.Ext(path))
	dir := path
	switch ext {
	case ".npz", ".png":
		dir = filepath.Dir(path)
	case "":
	default:
		return nil, fmt.Errorf("output %s: unknown kind %q: give a folder, FILE.png or FILE.npz", path, ext)
	}
	if err := prepare(dir); err != nil {
		return nil, fmt.Errorf("output %s: %w", path, err)
	}
	switch ext {
	case ".npz":
		return openNPZ(path, run, resume)
	case ".png":
		if resume {
			return nil, fmt.Errorf("output %s: a single sheet cannot be resumed; give a folder or an .npz file", path)
		}
		return &sheetFile{path: path, sheet: newSheet(run)}, nil
	}
	return openFolder(path, run, resume)
}

// prepare makes the folder if need be and finds out early, before hours of work, that it cannot be
// written to.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	t, err := os.CreateTemp(dir, ".*.tmp")
	if err != nil {
		return err
	}
	return errors.Join(t.Close(), os.Remove(t.Name()))
}

// caption names a class for people.
func (r Run) caption(class int) string {
	if class < len(r.Names) {
		return classes.Short(r.Names[class])
	}
	return fmt.Sprint("class ", class)
}

// texts are those of image i's file.
func (r Run) texts(i int) []raster.Text { return append(r.ofImage(i), r.ofRun()...) }

// ofImage are the texts that tell image i from the others of the run.
func (r Run) ofImage(i int) []raster.Text {
	class := r.Classes[i]
	own := []raster.Text{{Key: "index", Value: fmt.Sprint(i)}, {Key: "class", Value: fmt.Sprint(class)}}
	if class < len(r.Names) {
		own = append(own, raster.Text{Key: "class name", Value: r.Names[class]})
	}
	return own
}
