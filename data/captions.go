package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// CaptionsFile is the file of a folder of images that says what they show: a JSON object in each
// line with "file", from the folder; "captions", one or more texts that say the same; "mirror", true
// if they also hold for the image mirrored left to right; and perhaps "thing", a name that lines
// have in common whose images show the same thing. Other keys are passed over.
const CaptionsFile = "captions.jsonl"

// captionsEnding is that of CaptionsFile and of other files like it.
const captionsEnding = ".jsonl"

const (
	maxCaptionsFile = 1 << 30 // bytes
	maxCaptionsLine = 1 << 20
)

// Captions are what a CaptionsFile says of an image.
type Captions struct {
	File   string   `json:"file"`
	Texts  []string `json:"captions"`
	Mirror bool     `json:"mirror"`
	Thing  string   `json:"thing"`
}

// IsCaptioned reports whether Open takes what is at path for captioned images: a folder with a
// CaptionsFile, or a file like it.
func IsCaptioned(path string) bool {
	if strings.HasSuffix(path, captionsEnding) {
		return true
	}
	info, err := os.Stat(filepath.Join(path, CaptionsFile))
	return err == nil && !info.IsDir()
}

// OpenCaptioned opens the images of a folder that files in it name, CaptionsFile if none are given,
// and returns what they say of each. Path is the folder or, without files, one of its files. The
// images have no classes; Prompts are their first captions.
func OpenCaptioned(ctx context.Context, path string, o Options, files ...string) (*Set, []Captions, error) {
	s, list, err := openCaptioned(ctx, path, o, files)
	if err != nil {
		return nil, nil, fmt.Errorf("data %s: %w", path, err)
	}
	s.ctx, s.Path, s.options = ctx, path, o
	return s, list, nil
}

func openCaptioned(ctx context.Context, dir string, o Options, files []string) (*Set, []Captions, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if err := o.undivided(); err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		files = []string{CaptionsFile}
		if strings.HasSuffix(dir, captionsEnding) {
			dir, files = filepath.Dir(dir), []string{filepath.Base(dir)}
		}
	}
	var list []Captions
	for _, file := range files {
		of, err := readCaptions(filepath.Join(dir, filepath.FromSlash(file)))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, of...)
	}
	images := &imageList{ctx: ctx, root: dir, options: o}
	kept := list[:0]
	for _, c := range list {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		before := len(images.names)
		if err := images.addFile(filepath.FromSlash(c.File)); err != nil {
			return nil, nil, err
		}
		if len(images.names) > before {
			kept = append(kept, c)
		}
	}
	s := &Set{Kind: "captioned images", images: &imageFiles{root: dir, names: images.names}}
	for _, c := range kept {
		s.Labels, s.Prompts = append(s.Labels, -1), append(s.Prompts, c.Texts[0])
	}
	return s, kept, s.settle(o, images.height, images.width, 3)
}

// readCaptions reads a CaptionsFile.
func readCaptions(path string) ([]Captions, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if size > maxCaptionsFile {
		return nil, fmt.Errorf("%d bytes, want at most %d", size, maxCaptionsFile)
	}
	return parseCaptions(f)
}

func parseCaptions(r io.Reader) ([]Captions, error) {
	var list []Captions
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxCaptionsLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var c Captions
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no images")
	}
	return list, nil
}

func (c *Captions) check() error {
	switch {
	case c.File == "":
		return errors.New(`no "file"`)
	case !filepath.IsLocal(filepath.FromSlash(c.File)):
		return fmt.Errorf("file %.80q: want one within the folder", c.File)
	case len(c.Texts) == 0:
		return fmt.Errorf(`%.80q has no "captions"`, c.File)
	}
	for _, text := range c.Texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%.80q has an empty caption", c.File)
		}
	}
	return nil
}
