package output

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
)

// ofConditions fills in what the images of a request are: of classes, or of prompts, which stand in
// place of classes in the order in which they occur first.
func (r *Run) ofConditions(p *tokencache.Pipeline, req tokencache.Request) {
	r.Classes, r.Names = subjects(p, req)
	r.Prompts = len(req.Classes) == 0
}

// subjects returns the class of each image of a request and the names of all classes; of prompts,
// which of the names each has.
func subjects(p *tokencache.Pipeline, req tokencache.Request) (classes []int, names []string) {
	if len(req.Classes) > 0 {
		return req.Classes, p.ClassNames()
	}
	for _, c := range req.Conditions {
		text, _ := tokencache.PromptOf(c)
		at := slices.Index(names, text)
		if at < 0 {
			at, names = len(names), append(names, text)
		}
		classes = append(classes, at)
	}
	return classes, names
}

// maxSlug bounds what a file's name tells of a prompt, in bytes.
const maxSlug = 48

// slug returns a prompt as a part of a file's name: its letters and digits, in lower case, with
// hyphens between them.
func slug(prompt string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.ToLower(prompt), func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}) {
		if b.Len()+len(word) >= maxSlug {
			break
		}
		if b.Len() > 0 {
			b.WriteByte('-')
		}
		b.WriteString(word)
	}
	return b.String()
}

// fileName returns the name of image i's file in a folder.
func (r Run) fileName(i int) string {
	name := fmt.Sprintf("%06d", i)
	if r.Prompts {
		if s := slug(r.Names[r.Classes[i]]); s != "" {
			name += "-" + s
		}
	}
	return name + ".png"
}
