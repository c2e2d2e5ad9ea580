package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/imagefile"
)

// imageFiles is images in files of their own.
type imageFiles struct {
	root  string
	names []string // by image, from root
}

func (f *imageFiles) image(ctx context.Context, i int) (*Image, error) {
	m, err := imagefile.ReadFile(ctx, filepath.Join(f.root, f.names[i]))
	switch {
	case err == nil:
		return (*Image)(m), nil
	case ctx.Err() != nil || !lasting(err):
		return nil, fmt.Errorf("%s: %w", f.names[i], cause(err))
	}
	return nil, &BrokenError{File: f.names[i], Err: cause(err)}
}

func (f *imageFiles) file(i int) string { return f.names[i] }

func (f *imageFiles) Close() error { return nil }

// openImages opens a folder of image files: a subfolder for each class, train and test (or val)
// with a subfolder for each class, or, without subfolders, images that have no labels, also in
// train and test. Classes are numbered in the order of their names, over all splits together, so
// that a class has one number in all of them. Files with other endings and hidden ones are passed
// over, and images outside the folders of classes.
func openImages(ctx context.Context, root string, o Options) (*Set, error) {
	splits, remarks, err := imageSplits(root, o)
	if err != nil {
		return nil, err
	}
	s := &Set{Kind: "image folder", Remarks: remarks}
	for _, sp := range splits {
		s.Classes = append(s.Classes, sp.classes...)
	}
	slices.Sort(s.Classes)
	s.Classes = slices.Compact(s.Classes)

	list := &imageList{ctx: ctx, root: root, options: o}
	var loose []string
	if splits[0].dir != "" {
		loose = imagesIn(root, "")
	}
	for _, sp := range splits {
		if !sp.wanted {
			continue
		}
		if sp.classes == nil {
			if err := list.add(sp.dir, generated(filepath.Join(root, sp.dir))); err != nil {
				return nil, err
			}
			s.Labels = slices.Repeat([]int32{-1}, len(list.names))
		}
		if sp.classes != nil {
			loose = append(loose, imagesIn(root, sp.dir)...)
		}
		for _, class := range sp.classes {
			if err := list.add(filepath.Join(sp.dir, class), nil); err != nil {
				return nil, err
			}
			label, _ := slices.BinarySearch(s.Classes, class)
			s.Labels = append(s.Labels, slices.Repeat([]int32{int32(label)}, len(list.names)-len(s.Labels))...)
		}
	}
	s.PassedOver = list.passedOver()
	if len(loose) > 0 {
		s.Remarks = append(s.Remarks, fmt.Sprintf("passed over images outside the folders: %d, %s", len(loose), few(loose)))
	}
	if len(list.names) == 0 {
		return nil, list.none(s.Classes != nil)
	}
	s.images = &imageFiles{root: root, names: list.names}
	return s, s.settle(o, list.height, list.width, 3)
}

// imageSplit is a folder of classes.
type imageSplit struct {
	dir     string   // from root; "" if there are no splits
	classes []string // nil: the images are in the folder itself
	wanted  bool
}

// splitNames are the folders that are splits. Of all but train, the first that is there is the test
// set.
var splitNames = []string{"train", "test", "val", "valid", "validation"}

// imageSplits returns the folders of classes in root: those of splitNames that have folders
// themselves, or else root. Where there are no folders but several of splitNames, which have none,
// these are splits without classes. The remarks say what is not read.
func imageSplits(root string, o Options) (splits []imageSplit, remarks []string, err error) {
	top, err := subfolders(root)
	if err != nil {
		return nil, nil, err
	}
	var flat []imageSplit
	for _, name := range splitNames {
		if !slices.Contains(top, name) {
			continue
		}
		classes, err := subfolders(filepath.Join(root, name))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(classes) == 0 {
			flat = append(flat, imageSplit{dir: name})
		} else {
			splits = append(splits, imageSplit{dir: name, classes: classes})
		}
	}
	switch {
	case len(splits) == 0 && len(flat) > 1 && len(flat) == len(top):
		splits = flat
		remarks = append(remarks, fmt.Sprintf("%s have no folders of classes: they are splits without labels", few(top)))
	case len(splits) == 0:
		return []imageSplit{{"", top, true}}, nil, o.undivided()
	}
	test := ""
	for i := range splits {
		sp := &splits[i]
		top = slices.DeleteFunc(top, func(name string) bool { return name == sp.dir })
		if sp.dir != "train" && test == "" {
			test = sp.dir
		}
		sp.wanted = o.Split == "all" || sp.dir == "train" && o.wants("train") || sp.dir == test && o.wants("test")
		if o.Split == "test" && sp.dir != "train" && sp.dir != test {
			remarks = append(remarks, fmt.Sprintf("%s is not read: the split test is %s", sp.dir, test))
		}
	}
	if len(top) > 0 {
		remarks = append(remarks, "passed over folders that are no splits with classes: "+few(top))
	}
	if !slices.ContainsFunc(splits, func(s imageSplit) bool { return s.wanted }) {
		return nil, nil, fmt.Errorf("classes in %s only", splits[0].dir)
	}
	return splits, remarks, nil
}

// few lists the names, or of many the first.
func few(names []string) string {
	const listed = 3
	if len(names) > listed {
		return strings.Join(names[:listed], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// imagesIn returns the files in a folder of root that are images by their endings.
func imagesIn(root, dir string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(root, dir)) // it has been read before
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !hidden(e.Name()) && slices.Contains(imagefile.Endings, ending(name)) && !isFolder(filepath.Join(root, dir), e) {
			names = append(names, name)
		}
	}
	return names
}

// subfolders returns the names of the folders in dir, and of links to folders, in order, without
// hidden ones; nil if there are none.
func subfolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, cause(err)
	}
	var names []string
	for _, e := range entries {
		if isFolder(dir, e) && !hidden(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func isFolder(dir string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// imageList collects the image files of a set.
type imageList struct {
	ctx           context.Context
	root          string
	options       Options
	names         []string       // from root
	height, width int            // of all images, if no size is asked for; 0 before the first
	others        map[string]int // files passed over, by ending
}

// add adds the image files in a folder, in order, each of whose headers can be read; only those
// that keep, which may be nil, wants. A folder in it is an error, as its images would be missing.
func (l *imageList) add(dir string, keep func(name string) bool) error {
	entries, err := os.ReadDir(filepath.Join(l.root, dir))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, cause(err))
	}
	for _, e := range entries {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		name := filepath.Join(dir, e.Name())
		switch nested := isFolder(filepath.Join(l.root, dir), e); {
		case hidden(e.Name()):
		case nested:
			if err := l.options.broken(name, errors.New("a folder within a class: want the images themselves")); err != nil {
				return err
			}
		case !slices.Contains(imagefile.Endings, ending(name)):
			if l.others == nil {
				l.others = map[string]int{}
			}
			l.others[ending(name)]++
		case keep == nil || keep(e.Name()):
			if err := l.addFile(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// addFile adds a file, unless its header is broken and such files are to be left out.
func (l *imageList) addFile(name string) error {
	h, err := imagefile.ReadHeader(filepath.Join(l.root, name))
	if err != nil {
		if !lasting(err) {
			return fmt.Errorf("%s: %w", name, cause(err))
		}
		return l.options.broken(name, err)
	}
	if l.options.Size == 0 {
		if l.height == 0 {
			l.height, l.width = h.Height, h.Width
		}
		if h.Height != l.height || h.Width != l.width {
			return fmt.Errorf("%s: %dx%d pixels (height x width), those before have %dx%d: want one size, or a size to "+
				"crop all to", name, h.Height, h.Width, l.height, l.width)
		}
	}
	l.names = append(l.names, name)
	return nil
}

// none is the error where no images were found.
func (l *imageList) none(classes bool) error {
	want := fmt.Sprintf("want files ending in %s", strings.Join(imagefile.Endings, " "))
	if others := l.passedOver(); len(others) > 0 {
		want += fmt.Sprintf("; passed over %s", others)
	}
	if classes {
		return fmt.Errorf("no images in its classes' folders: %s", want)
	}
	return fmt.Errorf("neither IDX nor CIFAR files, nor folders of images, nor images: want a folder for each class, "+
		"train and test with one for each class, or images without classes; %s", want)
}
