package output

import (
	"context"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/internal/imagefile"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// folder writes each image to a PNG file as soon as it is finished, and at the end a sheet.
type folder struct {
	dir       string
	run       Run
	sheet     *contactSheet
	have      []bool // when the folder was opened
	haveSheet bool   // likewise
	known     bool   // a file of this run was there
	broken    string // a file that is no whole image was there, or ""
	remarks   []string
}

// sheetName is the sheet's file in a folder.
const sheetName = "sheet.png"

var imageName = regexp.MustCompile(`^([0-9]{6,18})(?:-[a-z0-9-]+)?\.png$`)

// folderFiles reports whether a name is that of a file which a folder's sink writes.
func folderFiles(name string) bool { return name == sheetName || imageName.MatchString(name) }

func openFolder(dir string, run Run, mode Mode) (Sink, error) {
	f := &folder{dir: dir, run: run, sheet: newSheet(run, maxOnSheet), have: make([]bool, len(run.Classes))}
	if n := len(run.Classes); n > maxOnSheet {
		f.remarks = append(f.remarks, fmt.Sprintf("%s will show the first %d of the %d images",
			filepath.Join(dir, sheetName), maxOnSheet, n))
	}
	names, err := f.names()
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", dir, err)
	}
	if mode.Overwrite {
		return f, f.remove(names)
	}
	for _, name := range names {
		if err := f.find(name); err != nil {
			return nil, err
		}
	}
	if f.broken != "" && !f.known { // nothing says that it was one of this run
		return nil, foreign(f.broken)
	}
	if len(names) > 0 && !mode.Resume {
		return nil, f.exists()
	}
	for i := range f.sheet.images {
		if f.have[i] {
			m, err := readPNG(f.path(i))
			if err != nil {
				return nil, err
			}
			f.sheet.add(i, m)
		}
	}
	if f.haveSheet && !f.Complete() { // it may be of fewer images
		f.haveSheet = false
		return f, f.remove([]string{sheetName})
	}
	return f, nil
}

// names returns the names of the sink's files that are there.
func (f *folder) names() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	var names []string
	for _, e := range entries {
		if folderFiles(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (f *folder) remove(names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// exists says what is there.
func (f *folder) exists() *ExistsError {
	if f.Complete() {
		return &ExistsError{Path: f.dir, What: "holds all images of this run already"}
	}
	have := 0
	for _, there := range f.have {
		if there {
			have++
		}
	}
	return unfinished(f.dir, have, len(f.have))
}

func (f *folder) path(i int) string { return filepath.Join(f.dir, f.run.fileName(i)) }

// find takes the file of a name over if it is whole and of this run.
func (f *folder) find(name string) error {
	path, image := filepath.Join(f.dir, name), -1
	if name != sheetName {
		image, _ = strconv.Atoi(imageName.FindStringSubmatch(name)[1])
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(&ExistsError{Path: path, What: "is not a file that this run wrote"}, err)
	}
	texts, err := raster.ReadTexts(path)
	if system := (*fs.PathError)(nil); errors.As(err, &system) {
		return err
	}
	if err != nil { // it is not whole
		f.broken = path
		f.remarks = append(f.remarks, fmt.Sprintf("%v: it is made again", err))
		return nil
	}
	if !isRun(texts) {
		return foreign(path)
	}
	if d, differs := f.run.differs(texts); differs {
		return ofAnother(path, d)
	}
	f.known = true
	if image < 0 {
		f.haveSheet = true
		return nil
	}
	if image >= len(f.have) {
		return &ExistsError{
			Path: f.dir,
			What: fmt.Sprintf("holds image %d, of this run with more images than the %d asked for", image, len(f.have)),
		}
	}
	if d, differs := firstDifference(f.run.ofImage(image), texts); differs {
		return ofAnother(path, d)
	}
	height, width, err := sizeOf(path)
	if err != nil || height != f.run.Height || width != f.run.Width {
		f.remarks = append(f.remarks, fmt.Sprintf("%s: %dx%d pixels, not %dx%d: it is made again",
			path, height, width, f.run.Height, f.run.Width))
		return nil
	}
	if name != filepath.Base(f.path(image)) {
		return &ExistsError{Path: path, What: fmt.Sprintf("has the index of image %s of this run", filepath.Base(f.path(image)))}
	}
	f.have[image] = true
	return nil
}

// sizeOf returns the size that the header of a PNG file says.
func sizeOf(path string) (height, width int, err error) {
	r, _, err := regularfile.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	c, err := png.DecodeConfig(r)
	return c.Height, c.Width, err
}

func (f *folder) Have(i int) bool   { return f.have[i] }
func (f *folder) Remarks() []string { return f.remarks }

func (f *folder) Complete() bool {
	return !slices.Contains(f.have, false) && (f.haveSheet || len(f.have) == 1)
}

func (f *folder) Add(i int, m *raster.Image, found ...raster.Text) error {
	f.sheet.add(i, m)
	return raster.WritePNG(f.path(i), m, append(f.run.texts(i), found...)...)
}

func (f *folder) Finish() ([]string, error) {
	if len(f.have) == 1 {
		return []string{f.path(0)}, nil
	}
	path := filepath.Join(f.dir, sheetName)
	if f.Complete() {
		return []string{path}, nil
	}
	m, err := f.sheet.render()
	if err != nil {
		return nil, err
	}
	return []string{path}, raster.WritePNG(path, m, f.run.ofRun()...)
}

func (f *folder) Close() error { return nil }

// readPNG reads an image that this program wrote.
func readPNG(path string) (*raster.Image, error) {
	m, err := imagefile.ReadFile(context.Background(), path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return (*raster.Image)(m), nil
}
