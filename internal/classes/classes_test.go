package classes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/imagenet"
	"pgregory.net/rapid"
)

var fashion = []string{
	"T-shirt/top",
	"trouser",
	"pullover",
	"dress",
	"coat",
	"sandal",
	"shirt",
	"sneaker",
	"bag",
	"ankle boot",
}

func TestSelect(t *testing.T) {
	for _, test := range []struct {
		selections []string
		names      []string
		want       []int
	}{
		{nil, nil, nil},
		{[]string{"3"}, nil, []int{3}},
		{[]string{"9", "0"}, nil, []int{9, 0}},
		{[]string{"1,5,9", "5"}, nil, []int{1, 5, 9, 5}},
		{[]string{"3-7"}, nil, []int{3, 4, 5, 6, 7}},
		{[]string{"3..5", " 4 - 4 "}, nil, []int{3, 4, 5, 4}},
		{[]string{"8, 1-2 ,0"}, nil, []int{8, 1, 2, 0}},
		{[]string{"T-shirt/top", "ankle boot"}, fashion, []int{0, 9}},
		{[]string{"bag,t-shirt/TOP,2-3"}, fashion, []int{8, 0, 2, 3}},
		{[]string{"shirt", "boot", "ankle_boot"}, fashion, []int{6, 9, 9}},
		{[]string{"red, white and blue", "red"}, []string{"red, white and blue", "green"}, []int{0, 0}},
	} {
		t.Run(fmt.Sprintf("%q", test.selections), func(t *testing.T) {
			got, err := Select(test.selections, 10, test.names)
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%q: %v (-want +got):\n%s", test.selections, err, diff)
			}
		})
	}
}

func TestSelectOfImageNet(t *testing.T) {
	for selection, want := range map[string][]int{
		"golden retriever":                  {207},
		"Golden_Retriever":                  {207},
		"otter":                             {360},
		"husky":                             {248},
		"siberian":                          {250},
		"missile, 744":                      {657, 744},
		"harp":                              {594},
		"sand viper":                        nil,
		"projectile,red panda, volcano,998": {744, 387, 980, 998},
		"lesser panda, red panda, panda, bear cat, cat bear, Ailurus fulgens": {387},
		"maillot, tank suit":           {639},
		"black-and-tan coonhound":      {165},
		"jack-o'-lantern":              {607},
		"sunglass, sunglasses":         {836, 837},
		"potter's wheel":               {739},
		"goldfish, Carassius auratus ": {1},
	} {
		t.Run(selection, func(t *testing.T) {
			got, err := Select([]string{selection}, imagenet.Count, imagenet.Names())
			if (want == nil) != (err != nil) {
				t.Errorf("%q: error %v", selection, err)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", selection, diff)
			}
		})
	}
}

// TestEveryName finds every class of ImageNet by its whole name, except the few whose only name is
// also another's most common.
func TestEveryName(t *testing.T) {
	names := imagenet.Names()
	shared := map[int]string{134: "crane", 517: "crane", 474: "cardigan", 638: "maillot"}
	for i, name := range names {
		got, err := Lookup(names, strings.ToUpper(name))
		if _, ambiguous := shared[i]; ambiguous != (err != nil) || !ambiguous && got != i {
			t.Errorf("%q: class %d, error %v; want %d", name, got, err, i)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		selection string
		names     []string
		want      string
	}{
		{"1000", nil, "class 1000 is out of range: this model has classes 0..999"},
		{"-1", nil, "class -1 is out of range: this model has classes 0..999"},
		{"99999999999999999999", nil, "class 99999999999999999999 is out of range: this model has classes 0..999"},
		{"0-99999999999", nil, "class 99999999999 is out of range: this model has classes 0..999"},
		{"7-3", nil, "classes 7-3 run backwards: want 3-7"},
		{"", nil, "a class is empty: want a number, a name or a range"},
		{"1,,2", nil, `a class is empty: want a number, a name or a range (in the list "1,,2")`},
		{"1,1000", nil, `class 1000 is out of range: this model has classes 0..999 (in the list "1,1000")`},
		{"otter", nil, `class "otter": this model's classes have no names, only numbers 0..999`},
		{"crane", imagenet.Names(),
			`class "crane" fits several: 134 (crane), 517 (crane); give a number or more of the name`},
		{"panda", imagenet.Names(),
			`class "panda" fits several: 387 (lesser panda), 388 (giant panda); give a number or more of the name`},
		{"terrier", imagenet.Names(), `class "terrier" fits several: 153 (Maltese dog), 158 (toy terrier), ` +
			`179 (Staffordshire bullterrier), 180 (American Staffordshire terrier), 181 (Bedlington terrier), ` +
			`182 (Border terrier), 183 (Kerry blue terrier), 184 (Irish terrier) and 16 more; give a number or more of the name`},
		{"goldne retreiver", imagenet.Names(),
			`class "goldne retreiver" is unknown; did you mean golden retriever (207)?`},
		{"sneeker", fashion, `class "sneeker" is unknown; did you mean sneaker (7)?`},
		{"spaceship to Mars", imagenet.Names(), `class "spaceship to Mars" is unknown: want tench, goldfish, great white shark, tiger shark, hammerhead, ` +
			`electric ray, stingray, cock, hen, ostrich, brambling, goldfinch, or one of 988 more`},
		{"?", fashion, `class "?" is unknown: want T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot`},
	} {
		t.Run(test.selection, func(t *testing.T) {
			_, err := Select([]string{test.selection}, 1000, test.names)
			if got := fmt.Sprint(err); got != test.want {
				t.Errorf("%q: error\n\t%s\nwant\n\t%s", test.selection, got, test.want)
			}
		})
	}
}

// TestNumericNames checks names that are numbers, in the order of folders' names.
func TestNumericNames(t *testing.T) {
	names := []string{"0", "1", "10", "2"}
	for selection, want := range map[string][]int{
		"0":      {0},
		"1":      {1},
		"3":      {3}, // no name
		"10":     {2}, // no number
		"0,10":   {0, 2},
		"2-2":    {2},
		"0-3":    {0, 1, 2, 3},
		"3..3":   {3},
		" 1 , 3": {1, 3},
	} {
		t.Run(selection, func(t *testing.T) {
			got, err := Select([]string{selection}, 4, names)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	for selection, want := range map[string]string{
		"2": `class 2 is ambiguous: the number of class "10", and the name of class number 3; 2-2 and 3-3, ranges of ` +
			`numbers, are not`,
		"4":   `class 4 is out of range: this model has classes 0..3`,
		"1,2": `class 2 is ambiguous: `,
	} {
		t.Run(selection, func(t *testing.T) {
			if _, err := Select([]string{selection}, 4, names); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

// TestNamesLikeRanges checks names that look like ranges of numbers.
func TestNamesLikeRanges(t *testing.T) {
	names := []string{"0-1", "3-5", "7..2", "2-2", "10-12"}
	for selection, want := range map[string][]int{
		"3-5":      {1}, // no classes 3 to 5
		"7..2":     {2}, // no range
		"10-12, 1": {4, 1},
		"0 - 1":    {0, 1},
		"0..1":     {0, 1},
		"1-2":      {1, 2},
	} {
		t.Run(selection, func(t *testing.T) {
			got, err := Select([]string{selection}, 5, names)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	for selection, want := range map[string]string{
		"0-1": "class 0-1 is ambiguous: the classes 0 to 1, and the name of class number 0; 0 - 1, a range with spaces, " +
			"and 0-0 are not",
		"4,2-2": "class 2-2 is ambiguous: the classes 2 to 2, and the name of class number 3;",
		"3-6":   "class 6 is out of range",
	} {
		t.Run(selection, func(t *testing.T) {
			if _, err := Select([]string{selection}, 5, names); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

// TestMoreNamesThanClasses: a name beyond the model's classes must not become a class.
func TestMoreNamesThanClasses(t *testing.T) {
	if got, err := Select([]string{"bag"}, 5, fashion); err == nil {
		t.Errorf("class %v, want an error", got)
	}
}

// TestAnything checks that any input gives classes of the model or an error.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9a-z,.\- ]{0,12}`)).Draw(t, "selection")
		got, err := Select([]string{s}, len(fashion), fashion)
		if err == nil && len(got) == 0 {
			t.Fatalf("%q: no class and no error", s)
		}
		for _, i := range got {
			if i < 0 || i >= len(fashion) {
				t.Fatalf("%q: class %d", s, i)
			}
		}
	})
}

func TestCycle(t *testing.T) {
	for _, test := range []struct {
		chosen []int
		count  int
		want   []int
	}{
		{[]int{4, 2}, 5, []int{4, 2, 4, 2, 4}},
		{All(3), 2, []int{0, 1}},
		{nil, 2, nil},
	} {
		if diff := cmp.Diff(test.want, Cycle(test.chosen, test.count)); diff != "" {
			t.Errorf("Cycle(%v, %d) (-want +got):\n%s", test.chosen, test.count, diff)
		}
	}
}
