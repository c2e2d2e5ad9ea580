// Package data reads labelled sets of images for training and evaluation: IDX files (MNIST, Fashion-MNIST), CIFAR's binary files,
// folders of image files, and npz archives of samples. A set gives every image in one size, with one number of channels, as a
// model takes it; it also says in which order training goes through the images.
//
// It knows formats of files and nothing of models or of training. Pictures are scaled by internal/raster.
package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/internal/raster"
)

// maxSize is the largest side of the pictures that a set gives.
const maxSize = 1 << 14

// Options says what of a source is wanted, and how.
type Options struct {
	Split    string      // "train", "test" or "all"; "" means train where the source has splits, else everything
	Size     int         // side of the square pictures that Read gives; 0: the source's own, which must then be one, and square
	Channels int         // 1 grey, 3 RGB; 0: the source's own (3 for folders of image files)
	Skip     bool        // a broken file is reported to Warn and skipped; else it is an error that names it
	Warn     func(error) // nil: nothing
}

// check refuses what no source can give.
func (o Options) check() error {
	switch o.Split {
	case "", "train", "test", "all":
	default:
		return fmt.Errorf("unknown split %q: want train, test or all", o.Split)
	}
	if o.Size < 0 || o.Size > maxSize {
		return fmt.Errorf("size %d: want 1 to %d, or 0 for the source's own", o.Size, maxSize)
	}
	if o.Channels != 0 && o.Channels != 1 && o.Channels != 3 {
		return fmt.Errorf("%d channels: want 1 (grey), 3 (RGB), or 0 for the source's own", o.Channels)
	}
	return nil
}

// undivided refuses a split of a source that has none.
func (o Options) undivided() error {
	if o.Split == "train" || o.Split == "test" {
		return fmt.Errorf("has no splits, so there is no %q", o.Split)
	}
	return nil
}

// wants says whether images of a split, train or test, are to be read.
func (o Options) wants(split string) bool {
	return o.Split == split || o.Split == "all" || o.Split == "" && split == "train"
}

// broken returns the error of a broken file, or reports it and returns nil if such files are to be skipped.
func (o Options) broken(err error) error {
	if err == nil || !o.Skip {
		return err
	}
	if o.Warn != nil {
		o.Warn(err)
	}
	return nil
}

// Set is an opened set of labelled images. It may be read by several goroutines at once.
type Set struct {
	Kind     string   // "IDX", "CIFAR-10", "CIFAR-100", "image folder" or "npz"
	Path     string   // as given to Open
	Classes  []string // names by class number; nil if the images have no labels
	Size     int      // side of the pictures
	Channels int      // 1 or 3
	Labels   []int32  // class numbers of the images; -1 if they have none

	images  source
	options Options
}

// source is where the images of a set are. Its methods may be called by several goroutines at once.
type source interface {
	picture(i int) (*raster.Image, error) // image i in its own size, of 1 or 3 channels; the caller may change it
	Close() error
}

// Open opens the images at path, a folder or a file. What they are is recognised by content: a folder by the names of the files in
// it, a file by its first bytes (CIFAR's, which have no mark, by the ending .bin and the size).
func Open(path string, o Options) (*Set, error) {
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", path, err)
	}
	s.Path, s.options = path, o
	return s, nil
}

func open(path string, o Options) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, cause(err)
	case info.IsDir():
		return openFolder(path, o)
	case !info.Mode().IsRegular():
		return nil, errors.New("neither a regular file nor a folder")
	}
	if err := o.undivided(); err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Ext(path), ".bin") {
		return openCIFARFile(path, info.Size(), o)
	}
	switch kind, err := sniff(path); {
	case err != nil:
		return nil, err
	case kind == "IDX":
		return openIDXFile(path, o)
	case kind == "npz":
		return openNPZ(path, o, memoryLimit)
	}
	return nil, errors.New("neither IDX (gzipped or not) nor .npz nor .npy by its first bytes, nor CIFAR's .bin by its name")
}

// openFolder opens what a folder holds.
func openFolder(dir string, o Options) (*Set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, cause(err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = !isFolder(dir, e)
	}
	if pairs := findIDX(there); len(pairs) > 0 {
		return openIDX(dir, pairs, o)
	}
	for _, form := range cifarForms {
		if form.in(there) {
			return openCIFAR(dir, form, there, o)
		}
	}
	return openImages(dir, o)
}

// sniff tells IDX, npz or "" by the first bytes of a file.
func sniff(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	var start [4]byte
	n, _ := f.Read(start[:]) // what is not there is no mark
	switch head := string(start[:n]); {
	case strings.HasPrefix(head, gzipMagic), strings.HasPrefix(head, idxMagic):
		return "IDX", nil
	case head == "PK\x03\x04", head == "\x93NUM":
		return "npz", nil
	}
	return "", nil
}

// cause is an error of the file system without the path, for messages that name the file themselves.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// settle sets size and channels to what was asked for, given what the source has. Height and width are 0 if there is not one size.
func (s *Set) settle(o Options, height, width, channels int) error {
	s.Size, s.Channels = o.Size, o.Channels
	if s.Channels == 0 {
		s.Channels = channels
	}
	if s.Size == 0 {
		if height != width || height > maxSize {
			return fmt.Errorf("images of %dx%d pixels (height x width): want square ones of up to %d, or a size to crop them to",
				height, width, maxSize)
		}
		s.Size = height
	}
	if len(s.Labels) == 0 {
		return errors.New("no images")
	}
	return nil
}

// Len returns the number of images.
func (s *Set) Len() int { return len(s.Labels) }

// Counts returns the number of images of each class.
func (s *Set) Counts() []int {
	counts := make([]int, len(s.Classes))
	for _, label := range s.Labels {
		if label >= 0 {
			counts[label]++
		}
	}
	return counts
}

// Read fills dst with image i as [Channels, Size, Size] in [-1,1]: byte/127.5 - 1. An image of another size is brought to it as DiT
// prepares its training images (raster.CenterCrop).
func (s *Set) Read(i int, dst []float32) error {
	if want := s.Channels * s.Size * s.Size; len(dst) != want {
		return fmt.Errorf("data %s: room for %d values, an image has %d: [%d, %d, %d]", s.Path, len(dst), want, s.Channels, s.Size, s.Size)
	}
	m, err := s.Picture(i)
	if err != nil {
		return err
	}
	plane := s.Size * s.Size
	for c := range s.Channels {
		for p, to := 0, dst[c*plane:][:plane]; p < plane; p++ {
			to[p] = sampleOf[m.Pix[p*s.Channels+c]]
		}
	}
	return nil
}

// sampleOf is the number in [-1,1] of each byte.
var sampleOf = func() (t [256]float32) {
	for v := range t {
		t[v] = float32(v)/127.5 - 1
	}
	return t
}()

// Picture returns image i as Read gives it, in bytes. The caller may change it.
func (s *Set) Picture(i int) (*raster.Image, error) {
	if i < 0 || i >= s.Len() {
		return nil, fmt.Errorf("data %s: image %d of %d", s.Path, i, s.Len())
	}
	m, err := s.images.picture(i)
	if err == nil {
		m, err = s.fit(m)
	}
	if err != nil {
		return nil, fmt.Errorf("data %s: image %d: %w", s.Path, i, err)
	}
	return m, nil
}

// fit brings an image to the set's channels and size, in this order, as DiT's training does.
func (s *Set) fit(m *raster.Image) (*raster.Image, error) {
	m, err := withChannels(m, s.Channels)
	if err != nil || m.Height == s.Size && m.Width == s.Size {
		return m, err
	}
	return raster.CenterCrop(m, s.Size)
}

// Close closes the files.
func (s *Set) Close() error { return s.images.Close() }
