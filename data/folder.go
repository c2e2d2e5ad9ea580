package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/raster"
)

// imageFiles is images in files of their own.
type imageFiles struct {
	root  string
	names []string // by image, from root
}

func (f *imageFiles) picture(i int) (*raster.Image, error) {
	m, err := decodeFile(filepath.Join(f.root, f.names[i]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.names[i], err)
	}
	return m, nil
}

func (f *imageFiles) Close() error { return nil }

// openImages opens a folder of image files: a subfolder for each class, or train and test (or val) with a subfolder for each class.
// Classes are numbered in the order of their names, over all splits together, so that a class has one number in all of them. Files
// with other endings and hidden ones are passed over.
func openImages(root string, o Options) (*Set, error) {
	splits, err := imageSplits(root, o)
	if err != nil {
		return nil, err
	}
	files := &imageFiles{root: root}
	s := &Set{Kind: "image folder", images: files}
	for _, sp := range splits {
		s.Classes = append(s.Classes, sp.classes...)
	}
	slices.Sort(s.Classes)
	s.Classes = slices.Compact(s.Classes)

	size := &commonSize{any: o.Size > 0}
	for _, sp := range splits {
		if !sp.wanted {
			continue
		}
		for _, class := range sp.classes {
			names, err := classFiles(root, filepath.Join(sp.dir, class), size, o)
			if err != nil {
				return nil, err
			}
			label, _ := slices.BinarySearch(s.Classes, class)
			files.names = append(files.names, names...)
			s.Labels = append(s.Labels, slices.Repeat([]int32{int32(label)}, len(names))...)
		}
	}
	if len(files.names) == 0 {
		return nil, errors.New("no images in its classes' folders: want PNG, JPEG, WebP or GIF files")
	}
	return s, s.settle(o, size.height, size.width, 3)
}

// imageSplit is a folder of classes.
type imageSplit struct {
	dir     string // from root; "" if there are no splits
	classes []string
	wanted  bool
}

// imageSplits returns the folders of classes in root: train, test and val where they have folders themselves, or else root. The split
// test is test, or val where there is no test.
func imageSplits(root string, o Options) ([]imageSplit, error) {
	top, err := subfolders(root)
	if err != nil {
		return nil, err
	}
	var splits []imageSplit
	test := ""
	for _, name := range []string{"train", "test", "val"} {
		if !slices.Contains(top, name) {
			continue
		}
		classes, err := subfolders(filepath.Join(root, name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(classes) == 0 {
			continue
		}
		if name != "train" && test == "" {
			test = name
		}
		wanted := o.Split == "all" || name == "train" && o.wants("train") || name == test && o.wants("test")
		splits = append(splits, imageSplit{name, classes, wanted})
	}
	switch {
	case len(top) == 0:
		return nil, errors.New("neither IDX nor CIFAR files, nor folders of images: want a folder for each class, or train and test with one for each class")
	case len(splits) == 0:
		return []imageSplit{{"", top, true}}, o.undivided()
	case !slices.ContainsFunc(splits, func(s imageSplit) bool { return s.wanted }):
		return nil, fmt.Errorf("classes in %s only", splits[0].dir)
	}
	return splits, nil
}

// subfolders returns the names of the folders in dir, and of links to folders, in order, without hidden ones.
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

// imageEndings are those of the formats that decode.go knows, which is not to say that a file's ending and format agree.
var imageEndings = []string{".png", ".jpg", ".jpeg", ".webp", ".gif"}

// classFiles returns the image files in a class's folder, in order, each of whose headers can be read. A folder there is an error, as
// its images would be missing.
func classFiles(root, dir string, size *commonSize, o Options) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, cause(err))
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		nested := isFolder(filepath.Join(root, dir), e)
		if hidden(e.Name()) || !nested && !slices.Contains(imageEndings, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		if nested {
			err = errors.New("a folder within a class: want the images themselves")
		} else {
			err = size.check(filepath.Join(root, name))
		}
		if err == nil {
			names = append(names, name)
		} else if err := o.broken(fmt.Errorf("%s: %w", name, err)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// commonSize is the size that all images must have if none is asked for.
type commonSize struct {
	any           bool // each its own
	height, width int  // of the first; 0 before
}

// check reads a file's header.
func (c *commonSize) check(path string) error {
	height, width, err := headerSize(path)
	switch {
	case err != nil || c.any:
		return err
	case c.height == 0:
		c.height, c.width = height, width
	case height != c.height || width != c.width:
		return fmt.Errorf("%dx%d pixels (height x width), those before have %dx%d: want one size, or a size to crop all to",
			height, width, c.height, c.width)
	}
	return nil
}
