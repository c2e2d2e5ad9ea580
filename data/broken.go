package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// ErrNoSplits says that a split was asked for of a source that is not divided into splits.
var ErrNoSplits = errors.New("has no splits")

// BrokenError is the error of a file that is there but cannot be used. Options.Skip leaves such
// files out.
type BrokenError struct {
	File    string // from the path of the set
	Err     error
	Skipped bool // it was reported to Options.Warn, and the set is to be read on without it
}

func (e *BrokenError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }

func (e *BrokenError) Unwrap() error { return e.Err }

// skipped says whether err is that of a broken file which is left out.
func skipped(err error) bool {
	var broken *BrokenError
	return errors.As(err, &broken) && broken.Skipped
}

// broken returns the error of a broken file, or reports it and returns nil if such files are to be
// left out. The file is that of err, if that is a *BrokenError.
func (o Options) broken(file string, err error) error {
	var broken *BrokenError
	if !errors.As(err, &broken) {
		broken = &BrokenError{File: file, Err: cause(err)}
	}
	if !o.Skip {
		return broken
	}
	broken.Skipped = true
	if o.Warn != nil {
		o.Warn(broken)
	}
	return nil
}

// cause is an error of the file system without the path, for messages that name the file
// themselves.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// lasting says whether an error in reading a file will come again. Others, such as too many open
// files, are no reason to leave the file out, since a run that depends on them cannot be repeated.
func lasting(err error) bool {
	var e *fs.PathError
	return !errors.As(err, &e) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// failed is the error of image i, which is noted and reported once if it is that of a broken file
// and such files are to be left out.
func (s *Set) failed(i int, err error) error {
	var broken *BrokenError
	if !errors.As(err, &broken) {
		return fmt.Errorf("data %s: image %d: %w", s.Path, i, err)
	}
	if s.options.Skip {
		broken.Skipped = true
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.leftOut[i] == nil {
			if s.leftOut == nil {
				s.leftOut = map[int]*BrokenError{}
			}
			s.leftOut[i] = broken
			if s.options.Warn != nil {
				s.options.Warn(broken)
			}
		}
	}
	return fmt.Errorf("data %s: %w", s.Path, broken)
}

// known returns the error of an image that was found broken before, if it is left out.
func (s *Set) known(i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if broken := s.leftOut[i]; broken != nil {
		return fmt.Errorf("data %s: %w", s.Path, broken)
	}
	return nil
}

// DropBroken reads all images and removes the broken ones from the set, so that every image that is
// left can be read. Without Options.Skip a broken image is an error. The set must not be read
// meanwhile.
func (s *Set) DropBroken() error {
	var whole []int
	var labels []int32
	var prompts []string
	for i, label := range s.Labels {
		switch _, err := s.Image(i); {
		case err == nil:
			whole, labels = append(whole, i), append(labels, label)
			if s.Prompts != nil {
				prompts = append(prompts, s.Prompts[i])
			}
		case !skipped(err):
			return err
		}
	}
	if len(whole) == 0 {
		return fmt.Errorf("data %s: all of the %d images are broken", s.Path, s.Len())
	}
	if len(whole) < s.Len() {
		s.images, s.Labels, s.Prompts, s.leftOut = &subset{s.images, whole}, labels, prompts, nil
	}
	return nil
}

// subset is some of a source's images.
type subset struct {
	source
	index []int // of each image in the source
}

func (s *subset) image(ctx context.Context, i int) (*Image, error) {
	return s.source.image(ctx, s.index[i])
}
func (s *subset) file(i int) string { return s.source.file(s.index[i]) }
