package data

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// errCIFARPickle is the error of CIFAR's files for Python.
var errCIFARPickle = errors.New("pickles, as in CIFAR's Python version: want its binary version, " +
	"which has the same images in .bin files")

const (
	cifarSide   = 32
	cifarPlane  = cifarSide * cifarSide
	cifarPixels = 3 * cifarPlane // bytes of an image: its red, green and blue planes
)

// cifarForm is one of the two binary forms.
type cifarForm struct {
	kind        string
	labelBytes  int // before the pixels; the last is the label, others are coarser ones
	train, test []string
	names       string   // file of the classes' names
	classes     []string // their names where that file is missing
}

var cifarForms = []cifarForm{
	{
		kind: "CIFAR-10", labelBytes: 1, names: "batches.meta.txt",
		train:   []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
		test:    []string{"test_batch.bin"},
		classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
	},
	{
		kind: "CIFAR-100", labelBytes: 2, names: "fine_label_names.txt",
		train: []string{"train.bin"}, test: []string{"test.bin"},
		classes: numbered(100),
	},
}

// numbered is names for classes that have none: their numbers.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// record is the number of bytes of an image with its labels.
func (c cifarForm) record() int64 { return int64(c.labelBytes + cifarPixels) }

// in says whether any of the files of images is among those there.
func (c cifarForm) in(there map[string]bool) bool {
	return hasAny(there, c.train) || hasAny(there, c.test)
}

func hasAny(there map[string]bool, names []string) bool {
	for _, name := range names {
		if there[name] {
			return true
		}
	}
	return false
}

// openCIFAR opens the files in a folder that the split takes. A split is all of its files or none.
func openCIFAR(dir string, form cifarForm, there map[string]bool, o Options) (*Set, error) {
	var files []string
	if o.wants("train") && (o.Split != "all" || hasAny(there, form.train)) {
		files = append(files, form.train...)
	}
	if o.wants("test") && (o.Split != "all" || hasAny(there, form.test)) {
		files = append(files, form.test...)
	}
	names, err := form.classNames(dir)
	if err != nil {
		return nil, err
	}
	images := &memory{}
	s := &Set{Kind: form.kind, images: images, Classes: names}
	for _, name := range files {
		part, labels, err := form.readFile(filepath.Join(dir, name))
		if err == nil {
			err = images.add(part)
		}
		if err != nil {
			if err := o.broken(name, err); err != nil {
				return nil, err
			}
			continue
		}
		s.Labels = append(s.Labels, labels...)
	}
	return s, s.settle(o, images.height, images.width, 3)
}

// openCIFARFile opens one file, whose size tells the form.
func openCIFARFile(path string, size int64, o Options) (*Set, error) {
	var found []cifarForm
	for _, form := range cifarForms {
		if size > 0 && size%form.record() == 0 {
			found = append(found, form)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d bytes: want a multiple of %d (CIFAR-10) or of %d (CIFAR-100), and not of both",
			size, cifarForms[0].record(), cifarForms[1].record())
	}
	names, err := found[0].classNames(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	images, labels, err := found[0].readFile(path)
	if err != nil {
		return nil, err
	}
	s := &Set{Kind: found[0].kind, images: images, Classes: names, Labels: labels}
	return s, s.settle(o, images.height, images.width, 3)
}

// classNames reads the names from the folder, a line each.
func (c cifarForm) classNames(dir string) ([]string, error) {
	const most = 1 << 16 // bytes of a file of names
	f, _, err := regularfile.Open(filepath.Join(dir, c.names))
	if errors.Is(err, os.ErrNotExist) {
		return slices.Clone(c.classes), nil
	}
	var text []byte
	if err == nil {
		defer f.Close()
		text, err = io.ReadAll(io.LimitReader(f, most))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.names, cause(err))
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			names = append(names, line)
		}
	}
	if len(names) != len(c.classes) {
		return nil, fmt.Errorf("%s: %d names, want %d, a line each", c.names, len(names), len(c.classes))
	}
	return names, nil
}

func (c cifarForm) readFile(path string) (*memory, []int32, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	defer f.Close()
	return c.read(f, size)
}

// read reads a file of size bytes.
func (c cifarForm) read(file io.Reader, size int64) (*memory, []int32, error) {
	if size == 0 || size%c.record() != 0 {
		return nil, nil, fmt.Errorf("%d bytes: want images of %d bytes each, %d of labels and %d of pixels",
			size, c.record(), c.labelBytes, cifarPixels)
	}
	n := int(size / c.record())
	images := &memory{height: cifarSide, width: cifarSide, channels: 3, pix: make([]uint8, n*cifarPixels)}
	labels := make([]int32, n)
	record := make([]byte, c.record())
	for i := range n {
		if _, err := io.ReadFull(file, record); err != nil {
			return nil, nil, fmt.Errorf("image %d of %d: %w", i, n, noEOF(err))
		}
		label := record[c.labelBytes-1]
		if int(label) >= len(c.classes) {
			return nil, nil, fmt.Errorf("label %d of image %d: want 0 to %d", label, i, len(c.classes)-1)
		}
		labels[i] = int32(label)
		pix, planes := images.pix[i*cifarPixels:][:cifarPixels], record[c.labelBytes:]
		for p := range cifarPlane {
			pix[3*p], pix[3*p+1], pix[3*p+2] = planes[p], planes[cifarPlane+p], planes[2*cifarPlane+p]
		}
	}
	return images, labels, nil
}
