package output

import "fmt"

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
