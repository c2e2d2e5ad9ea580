package npz

import (
	"archive/zip"
	"fmt"
	"io"
	"time"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Writer writes an archive as np.savez does: entries stored, little-endian, in row-major order.
type Writer struct {
	zip   *zip.Writer
	names map[string]bool
	last  *stream
}

// Write creates or replaces the file at path, whole or not at all, with the arrays that write puts
// into its argument.
func Write(path string, write func(w *Writer) error) error {
	return atomicfile.Write(path, func(f io.Writer) error {
		w := &Writer{zip: zip.NewWriter(f), names: map[string]bool{}}
		if err := write(w); err != nil {
			return err
		}
		if err := w.complete(); err != nil {
			return err
		}
		return w.zip.Close()
	})
}

// Put writes a whole array: values in row-major order, as u1, i8, f4 or f8.
func Put[T Element](w *Writer, name string, values []T, shape ...int) error {
	s, err := Stream[T](w, name, shape...)
	if err != nil {
		return err
	}
	return s.Append(values)
}

// Stream begins an array of the given shape, whose elements then follow piece by piece, all of them
// before the next array.
func Stream[T Element](w *Writer, name string, shape ...int) (*Elements[T], error) {
	f, err := w.array(name, dtypeOf[T](), shape...)
	if err != nil {
		return nil, err
	}
	n, err := product(shape, dtypeOf[T]().size)
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	w.last = &stream{w: f, name: name, left: n}
	return &Elements[T]{stream: w.last}, nil
}

// array begins an array: it writes its header, behind which the elements follow.
func (w *Writer) array(name string, d DType, shape ...int) (io.Writer, error) {
	if err := w.complete(); err != nil {
		return nil, err
	}
	if w.names[name] {
		return nil, fmt.Errorf("array %q is written twice", name)
	}
	h, err := formatHeader(d, shape)
	if err == nil {
		_, err = product(shape, d.size)
	}
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	f, err := w.create(name + ".npy")
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	if _, err := f.Write(h); err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	w.names[name] = true
	return f, nil
}

// create begins an entry of the archive.
func (w *Writer) create(name string) (io.Writer, error) {
	return w.zip.CreateHeader(&zip.FileHeader{
		Name:     name,
		Method:   zip.Store,
		Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), // as np.savez: equal arrays, equal files
	})
}

// About adds AboutFile.
func (w *Writer) About(text []byte) error {
	if err := w.complete(); err != nil {
		return err
	}
	if len(text) > maxAbout {
		return fmt.Errorf("%s: %d bytes, want at most %d", AboutFile, len(text), maxAbout)
	}
	f, err := w.create(AboutFile)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return err
}

// complete checks that the last array has all its elements.
func (w *Writer) complete() error {
	if w.last != nil && w.last.left > 0 {
		return fmt.Errorf("array %q: %d elements are missing", w.last.name, w.last.left)
	}
	return nil
}

// stream is an array that is being written.
type stream struct {
	w    io.Writer
	name string
	left int // elements
}

// Elements takes the elements of an array that is being written.
type Elements[T Element] struct {
	stream *stream
	buf    []byte
}

// Append writes the array's next elements. More than its shape has are an error.
func (e *Elements[T]) Append(values []T) error {
	s := e.stream
	if len(values) > s.left {
		return fmt.Errorf("array %q: %d elements more than its shape has", s.name, len(values)-s.left)
	}
	for len(values) > 0 {
		n := min(len(values), chunk)
		e.buf = encode(e.buf[:0], values[:n])
		if _, err := s.w.Write(e.buf); err != nil {
			return fmt.Errorf("array %q: %w", s.name, err)
		}
		s.left -= n
		values = values[n:]
	}
	return nil
}

// Samples is a set of images to be written as DiT's sample_ddp.py and the ADM evaluation suite name
// and lay them out: arr_0 [Count, Height, Width, Channels] of u1 and, with labels, arr_1 [Count] of
// i8. Prompts are in PromptsArray.
type Samples struct {
	Count, Height, Width, Channels int
	Labels                         []int64                     // nil or [Count]
	Image                          func(i int) ([]byte, error) // [Height, Width, Channels]; called in order
	About                          []byte                      // the text of AboutFile, or nil
	Prompts                        []string                    // nil or [Count]
}

// PromptsArray is the array of samples' prompts, texts [Count].
const PromptsArray = "prompts"

// Write creates or replaces the file at path, whole or not at all. It holds one image at a time.
func (s *Samples) Write(path string) error {
	if s.Labels != nil && len(s.Labels) != s.Count {
		return fmt.Errorf("write %s: %d labels for %d images", path, len(s.Labels), s.Count)
	}
	if s.Prompts != nil && len(s.Prompts) != s.Count {
		return fmt.Errorf("write %s: %d prompts for %d images", path, len(s.Prompts), s.Count)
	}
	return Write(path, func(w *Writer) error {
		images, err := Stream[uint8](w, "arr_0", s.Count, s.Height, s.Width, s.Channels)
		if err != nil {
			return err
		}
		for i := range s.Count {
			image, err := s.Image(i)
			if err != nil {
				return fmt.Errorf("image %d: %w", i, err)
			}
			if want := s.Height * s.Width * s.Channels; len(image) != want {
				return fmt.Errorf("image %d: %d bytes, want %d", i, len(image), want)
			}
			if err := images.Append(image); err != nil {
				return err
			}
		}
		if s.Labels != nil {
			if err := Put(w, "arr_1", s.Labels, s.Count); err != nil {
				return err
			}
		}
		if s.Prompts != nil {
			if err := PutText(w, PromptsArray, s.Prompts); err != nil {
				return err
			}
		}
		if s.About == nil {
			return nil
		}
		return w.About(s.About)
	})
}
