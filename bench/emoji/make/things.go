package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// thing is an emoji, in one skin tone.
type thing struct {
	code   string   // code points, as the names of the files have them
	names  []string // the best first
	tone   string   // of its skin, or ""
	mirror bool     // its captions hold for the mirror image, too
}

// emoji is an entry of emoji.json.
type emoji struct {
	Name        string   `json:"name"`
	Image       string   `json:"image"`
	ShortNames  []string `json:"short_names"`
	Category    string   `json:"category"`
	Subcategory string   `json:"subcategory"`
	Google      bool     `json:"has_img_google"`
	Skins       map[string]struct {
		Image string `json:"image"`
	} `json:"skin_variations"`
}

var tones = []struct{ code, name string }{
	{"1F3FB", "light skin tone"},
	{"1F3FC", "medium-light skin tone"},
	{"1F3FD", "medium skin tone"},
	{"1F3FE", "medium-dark skin tone"},
	{"1F3FF", "dark skin tone"},
}

// toned are the kinds that are taken in every skin tone.
var toned = map[string]bool{
	"hand-fingers-open":    true,
	"hand-fingers-partial": true,
	"hand-single-finger":   true,
	"hand-fingers-closed":  true,
	"hands":                true,
	"hand-prop":            true,
	"body-parts":           true,
	"person":               true,
	"person-fantasy":       true,
}

// mirrored are the kinds whose captions say nothing of left and right.
var mirrored = map[string]bool{
	"Animals & Nature": true,
	"Food & Drink":     true,
}

// better are names in place of those that do not say what is shown.
var better = map[string][]string{
	"2764-fe0f":             {"red heart", "heart"},
	"2b50":                  {"star", "yellow star"},
	"1f31f":                 {"glowing star"},
	"2600-fe0f":             {"sun", "sun with rays"},
	"2601-fe0f":             {"cloud"},
	"2603-fe0f":             {"snowman with snow", "snowman in the snow"},
	"26c4":                  {"snowman"},
	"260e-fe0f":             {"telephone", "red telephone"},
	"1f534":                 {"red circle", "large red circle"},
	"1f535":                 {"blue circle", "large blue circle"},
	"1f7e0":                 {"orange circle", "large orange circle"},
	"1f7e1":                 {"yellow circle", "large yellow circle"},
	"1f7e2":                 {"green circle", "large green circle"},
	"1f7e3":                 {"purple circle", "large purple circle"},
	"1f7e4":                 {"brown circle", "large brown circle"},
	"26ab":                  {"black circle"},
	"26aa":                  {"white circle"},
	"1f7e5":                 {"red square", "large red square"},
	"1f7e6":                 {"blue square", "large blue square"},
	"1f7e7":                 {"orange square", "large orange square"},
	"1f7e8":                 {"yellow square", "large yellow square"},
	"1f7e9":                 {"green square", "large green square"},
	"1f7ea":                 {"purple square", "large purple square"},
	"1f7eb":                 {"brown square", "large brown square"},
	"2b1b":                  {"black square", "large black square"},
	"2b1c":                  {"white square", "large white square"},
	"1f355":                 {"pizza", "slice of pizza"},
	"1f42d":                 {"mouse face", "mouse head"},
	"1f600":                 {"grinning face", "grinning"},
	"1f60a":                 {"smiling face with smiling eyes", "blush"},
	"1f697":                 {"car", "red car", "automobile"},
	"1f699":                 {"blue car", "suv", "recreational vehicle"},
	"1f44d":                 {"thumbs up", "thumbs up sign"},
	"1f44e":                 {"thumbs down", "thumbs down sign"},
	"1f34e":                 {"red apple", "apple"},
	"1f34f":                 {"green apple"},
	"1f436":                 {"dog face"},
	"1f415":                 {"dog"},
	"1f431":                 {"cat face"},
	"1f408":                 {"cat"},
	"1f3e0":                 {"house", "house building"},
	"1f4a9":                 {"pile of poo", "poop"},
	"1f468-200d-1f4bb":      {"man technologist", "man with a laptop"},
	"1f3f3-fe0f-200d-1f308": {"rainbow flag"},
	"1f3f4-e0067-e0062-e0065-e006e-e0067-e007f": {"flag of england"},
}

// maxEmojiFile bounds emoji.json, in bytes.
const maxEmojiFile = 64 << 20

// passedOver are kinds that are left out: small text and flags of countries.
var passedOver = map[string]bool{"country-flag": true, "subdivision-flag": true, "skin-tone": true}

func readThings(path string) ([]thing, error) {
	data, err := regularfile.Read(path, maxEmojiFile)
	if err != nil {
		return nil, err
	}
	var list []emoji
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b emoji) int { return strings.Compare(a.Image, b.Image) })
	var things []thing
	for _, e := range list {
		if !e.Google || passedOver[e.Subcategory] {
			continue
		}
		code := strings.TrimSuffix(e.Image, ".png")
		names := e.names(code)
		if len(names) == 0 {
			continue
		}
		things = append(things, thing{code: code, names: names, mirror: mirrored[e.Category]})
		if !toned[e.Subcategory] {
			continue
		}
		for _, t := range tones {
			if v, ok := e.Skins[t.code]; ok {
				things = append(things, thing{code: strings.TrimSuffix(v.Image, ".png"), names: names, tone: t.name})
			}
		}
	}
	return things, nil
}

// names returns what an emoji is called, in lower case, the best name first.
func (e *emoji) names(code string) []string {
	if names := better[code]; names != nil {
		return names
	}
	var list []string
	add := func(name string) {
		name = strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
			return unicode.IsSpace(r) || r == '_' || r == ':' || r == ',' || r == '’'
		}), " ")
		first, _ := strconv.ParseUint(strings.SplitN(code, "-", 2)[0], 16, 32)
		if first < 0x2c00 && !strings.Contains(name, "square") && !strings.Contains(name, "circle") {
			// In the names of older symbols black and white are filled and outlined.
			name = strings.Join(slices.DeleteFunc(strings.Fields(name), func(w string) bool {
				return w == "black" || w == "white" || w == "heavy"
			}), " ")
		}
		if words := len(strings.Fields(name)); words > 0 && words <= 9 && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, short := range e.ShortNames {
		// A number at the end tells apart what has the same name.
		if !strings.ContainsFunc(short, unicode.IsDigit) && len(short) > 1 && !strings.HasPrefix(short, "flag-") {
			add(short)
		}
	}
	if !strings.Contains(e.Name, "IDEOGRAPH") && !strings.Contains(e.Name, "KATAKANA") {
		add(e.Name)
	}
	return list
}

// captions returns the texts for a thing in a style: with and without the style and an article.
func (t *thing) captions(style string) []string {
	var list []string
	for _, name := range t.names {
		for _, text := range []string{name, article(name)} {
			if t.tone != "" {
				text += ", " + t.tone
			}
			list = append(list, text, text+", "+style+" style")
		}
		text := style + " style, " + name
		if t.tone != "" {
			text += ", " + t.tone
		}
		list = append(list, text)
	}
	return list
}

// article returns a name with a or an, unless it is a plural.
func article(name string) string {
	last := name
	if at := strings.Index(name, " with "); at >= 0 {
		last = name[:at]
	}
	switch {
	case strings.HasSuffix(last, "s") && !strings.HasSuffix(last, "ss") && !strings.HasSuffix(last, "us"):
		return name
	case strings.ContainsRune("aeiou", rune(name[0])):
		return "an " + name
	}
	return "a " + name
}

// bare returns code points without those that only choose a presentation, in which the two sets'
// file names differ.
func bare(code string) string { return strings.ReplaceAll(code, "-fe0f", "") }

// fluentFiles returns the files of Fluent Emoji by their bare code points.
func fluentFiles(dir string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.webp"))
	files := map[string]string{}
	for _, path := range paths {
		files[bare(strings.TrimSuffix(filepath.Base(path), ".webp"))] = path
	}
	return files, err
}
