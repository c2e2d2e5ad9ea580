// Package data reads labelled sets of images for training and evaluation: IDX files (MNIST,
// Fashion-MNIST), CIFAR's binary files, folders of image files, and npz archives of samples. A set
// gives every image in one size, with one number of channels, as a model takes it; it also says in
// which order training goes through the images.
//
// It knows formats of files and nothing of models or of training. Image files are decoded by
// internal/imagefile, to the bytes that Pillow reads, and scaled by internal/raster.
package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// maxSize is the largest side of the images that a set gives.
const maxSize = 1 << 14

// Options says what of a source is wanted, and how.
type Options struct {
	// Split is train, test or all; "" means train where the source has splits, else everything.
	Split string
	// Size is the side of the square images that Read gives; 0: the source's own, which must then
	// be one, and square.
	Size int
	// Channels is 1 for grey, 3 for RGB; 0: the source's own (3 for folders of image files).
	Channels int
	// Skip leaves broken files out, whether that shows when the set is opened or when an image is
	// read. Without it they are errors.
	Skip bool
	// Warn is told of each broken file that is left out, as a *BrokenError; nil: nobody is. It is
	// called by one goroutine at a time.
	Warn func(error)
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
		return fmt.Errorf("%w, so there is no %q", ErrNoSplits, o.Split)
	}
	return nil
}

// wants says whether images of a split, train or test, are to be read.
func (o Options) wants(split string) bool {
	return o.Split == split || o.Split == "all" || o.Split == "" && split == "train"
}

// Set is an opened set of labelled images. It may be read by several goroutines at once.
type Set struct {
	Kind     string   // "IDX", "CIFAR-10", "CIFAR-100", "image folder", "captioned images" or "npz"
	Path     string   // as given to Open
	Classes  []string // names by class number; nil if the images have no labels
	Size     int      // side of the images in pixels
	Channels int      // 1 or 3
	Labels   []int32  // class numbers of the images; -1 if they have none
	Prompts  []string // what the images show or were to show, in words; nil if nothing says it

	PassedOver PassedOver // files of a folder of images that have other endings
	Remarks    []string   // what else of a folder is not read, or not as one may think

	ctx     context.Context
	images  source
	options Options

	mu      sync.Mutex
	leftOut map[int]*BrokenError // by image, those found broken when read, if Options.Skip
}

// source is where the images of a set are. Its methods may be called by several goroutines at once.
type source interface {
	// image returns image i in its own size, with 1 or 3 channels. The caller may change it.
	image(ctx context.Context, i int) (*Image, error)
	file(i int) string // that image i is in, for messages
	Close() error
}

// Open opens the images at path, a folder or a file. What they are is recognised by content: a
// folder by the names of the files in it, a file by its first bytes (CIFAR's, which have no mark,
// by the ending .bin and the size, and files like CaptionsFile by their ending). When ctx ends,
// opening and later reading end with its error.
func Open(ctx context.Context, path string, o Options) (*Set, error) {
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", path, err)
	}
	s.ctx, s.Path, s.options = ctx, path, o
	return s, nil
}

func open(ctx context.Context, path string, o Options) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, cause(err)
	case IsCaptioned(path):
		s, _, err := openCaptioned(ctx, path, o, nil)
		return s, err
	case info.IsDir():
		return openFolder(ctx, path, o)
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
		return openNPZ(path, info.Size(), o, memoryLimit)
	case kind == "pickle":
		return nil, errCIFARPickle
	}
	return nil, errors.New("neither IDX (gzipped or not) nor .npz nor .npy by its first bytes, " +
		"nor CIFAR's .bin or captions' .jsonl by its name")
}

// openFolder opens what a folder holds.
func openFolder(ctx context.Context, dir string, o Options) (*Set, error) {
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
	if there["data_batch_1"] || there["test_batch"] || there["meta"] && there["train"] {
		return nil, errCIFARPickle
	}
	return openImages(ctx, dir, o)
}

// sniff tells IDX, npz, a Python pickle or "" by the first bytes of a file.
func sniff(path string) (string, error) {
	f, _, err := regularfile.Open(path)
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
	case n == len(start) && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5:
		return "pickle", nil
	}
	return "", nil
}

// settle sets size and channels to what was asked for, given what the source has. Height and width
// are 0 if there is not one size.
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

// Read fills dst with image i as [Channels, Size, Size] in [-1,1]: byte/127.5 - 1. An image of
// another size is brought to it as DiT prepares its training images: halved by a box filter while
// the shorter side is at least twice the size, scaled by a bicubic filter, and cropped in the
// middle.
func (s *Set) Read(i int, dst []float32) error {
	if want := s.Channels * s.Size * s.Size; len(dst) != want {
		return fmt.Errorf("data %s: room for %d values, an image has %d: [%d, %d, %d]",
			s.Path, len(dst), want, s.Channels, s.Size, s.Size)
	}
	m, err := s.Image(i)
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

// Image returns image i as Read gives it, in bytes. The caller may change it. The error of an image
// that is broken is a *BrokenError.
func (s *Set) Image(i int) (*Image, error) {
	if i < 0 || i >= s.Len() {
		return nil, fmt.Errorf("data %s: image %d of %d", s.Path, i, s.Len())
	}
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.known(i); err != nil {
		return nil, err
	}
	m, err := s.images.image(s.ctx, i)
	if err == nil {
		if m, err = s.fit(m); err != nil {
			err = &BrokenError{File: s.images.file(i), Err: err}
		}
	}
	if err != nil {
		return nil, s.failed(i, err)
	}
	return m, nil
}

// fit brings an image to the set's channels and size, in this order, as DiT's training does. Grey
// becomes RGB last, which gives the same with less work.
func (s *Set) fit(m *Image) (*Image, error) {
	var err error
	if s.Channels < m.Channels {
		if m, err = withChannels(m, s.Channels); err != nil {
			return nil, err
		}
	}
	if m.Height != s.Size || m.Width != s.Size {
		if m, err = centerCrop(m, s.Size); err != nil {
			return nil, err
		}
	}
	return withChannels(m, s.Channels)
}

// Close closes the files.
func (s *Set) Close() error { return s.images.Close() }
