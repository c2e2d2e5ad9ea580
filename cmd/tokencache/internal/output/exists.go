package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tokencache/tokencache/internal/raster"
)

// ExistsError reports that there is a run where another one, or the same from its beginning, was to
// be written.
type ExistsError struct {
	Path      string // of what is there
	What      string // it is
	Resumable bool   // it is an unfinished part of this run
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s %s", e.Path, e.What) }

// ofAnother is the ExistsError of what differs from the run.
func ofAnother(path string, d difference) *ExistsError {
	return &ExistsError{
		Path: path,
		What: fmt.Sprintf("is of another run: its %s is %q, this run's is %q", d.key, d.got, d.want),
	}
}

// unfinished is the ExistsError of a part of the run.
func unfinished(path string, have, images int) *ExistsError {
	return &ExistsError{
		Path:      path,
		What:      fmt.Sprintf("holds %d of the %d images of this run, which was interrupted", have, images),
		Resumable: true,
	}
}

// foreign is the ExistsError of a file that is of no run.
func foreign(path string) *ExistsError {
	return &ExistsError{Path: path, What: "is there already, and is not of this program's runs"}
}

// checkRegular reports, as an *ExistsError, a link or a special file at path.
func checkRegular(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &ExistsError{Path: path, What: "is a link or a special file, which is not written through"}
	}
	return nil
}

// checkSheetAt reports, as an *ExistsError, what is where the run's sheet is to be written.
func (r Run) checkSheetAt(path string) error {
	if err := checkRegular(path); err != nil {
		return err
	}
	texts, err := raster.ReadTexts(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || !isRun(texts):
		return foreign(path)
	}
	if d, differs := r.differs(texts); differs {
		return ofAnother(path, d)
	}
	return &ExistsError{Path: path, What: "has images of this run already"}
}
