// Package output puts a run's images where the user asked for them: a folder of PNG files with a
// sheet, one sheet, or an npz file. Images may come in any order. One process at a time writes to
// an output, and what another run left there is neither changed nor mixed with the new: it is
// refused.
package output

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
)

// Run says what the images of a run are, beyond their pixels.
type Run struct {
	Height, Width, Channels int // of every image

	Classes []int    // the class of each image
	Names   []string // of all classes, or nil
	Prompts bool     // the names are prompts, and the classes say which of them
	// Identity is tokencache.Pipeline.Identity: it tells the images of one run from those of another.
	Identity string
	Texts    []raster.Text // describe the run for people; every PNG file has them
	Labels   bool          // an npz file also gets the classes, as arr_1
}

// imageBytes is the size of an image's pixels.
func (r Run) imageBytes() int { return r.Height * r.Width * r.Channels }

// Mode says what becomes of what is there already.
type Mode struct {
	Resume    bool // complete what an interrupted run of the same identity left
	Overwrite bool // replace the images of any run
	Findings  bool // images have texts that only generating them shows
}

// Sink takes the images of a run as they are finished, in any order.
type Sink interface {
	// Have reports whether image i was there when the sink was opened, from a run that was
	// interrupted. It may be called from any goroutine, also during Add.
	Have(i int) bool
	// Complete reports that nothing was left to do when the sink was opened.
	Complete() bool
	// Remarks are what the user should know of what was found, and of what is not written.
	Remarks() []string
	// Add takes image i, which must not be there, and keeps m. The texts are what is known of it only
	// now; of the formats only PNG files of one image have them.
	Add(i int, m *raster.Image, found ...raster.Text) error
	// Finish is called once, after the last image. Without it nothing but whole files of finished
	// images is left behind. It returns the paths to show the user.
	Finish() ([]string, error)
	// Close frees what Finish or an error left open, and lets other processes write there.
	Close() error
}

// Open returns the sink for path: FILE.npz, FILE.png, - for a PNG on stdout, or a folder. It fails
// with an *ExistsError if there is a run that mode does not resume or replace, and with a
// *filelock.HeldError if another process is writing there.
func Open(path string, run Run, mode Mode, stdout io.Writer) (Sink, error) {
	kind, err := kindOf(path)
	if err != nil {
		return nil, err
	}
	if kind == kindStdout || kind == kindSheet {
		if mode.Resume {
			return nil, fmt.Errorf("output %s: a single sheet cannot be resumed; give a folder or an .npz file", path)
		}
		if err := checkSheet(run); err != nil {
			return nil, fmt.Errorf("output %s: %w", path, err)
		}
	}
	if kind == kindStdout {
		return &sheetFile{path: path, sheet: newSheet(run, len(run.Classes)), stdout: stdout}, nil
	}
	if kind == kindFolder {
		return guarded(path, folderFiles, path, func() (Sink, error) { return openFolder(path, run, mode) })
	}
	return guarded(path, fileAndState(path), filepath.Dir(path), func() (Sink, error) {
		if err := atomicfile.Prepare(path); err != nil {
			return nil, fmt.Errorf("output: %w", err)
		}
		if kind == kindSheet {
			if !mode.Overwrite {
				if err := run.checkSheetAt(path); err != nil {
					return nil, err
				}
			}
			return &sheetFile{path: path, sheet: newSheet(run, len(run.Classes))}, nil
		}
		return openNPZ(path, run, mode)
	})
}

// guarded opens a sink while nobody else writes to its output.
func guarded(path string, own func(name string) bool, dir string, open func() (Sink, error)) (Sink, error) {
	c, err := claimOutput(path, own, dir)
	if err != nil {
		return nil, err
	}
	s, err := open()
	if err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return &guardedSink{Sink: s, claim: c}, nil
}

// guardedSink is a sink whose output is claimed until it is closed.
type guardedSink struct {
	Sink
	claim *Claim
}

func (s *guardedSink) Close() error { return errors.Join(s.Sink.Close(), s.claim.Release()) }

// caption names a class for people.
func (r Run) caption(class int) string {
	if r.Prompts {
		return r.Names[class]
	}
	if class < len(r.Names) {
		return classes.Short(r.Names[class])
	}
	return fmt.Sprint("class ", class)
}

// texts are those of image i's file.
func (r Run) texts(i int) []raster.Text { return append(r.ofImage(i), r.ofRun()...) }

// ofImage are the texts that tell image i from the others of the run.
func (r Run) ofImage(i int) []raster.Text {
	if r.Prompts {
		return pngtext.OfPrompt(i, r.Names[r.Classes[i]])
	}
	return pngtext.OfClass(i, r.Classes[i], r.Names)
}
