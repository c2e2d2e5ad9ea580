package imagenet

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	names := Names()
	if len(names) != Count {
		t.Fatalf("%d names", len(names))
	}
	for i, want := range map[int]string{
		0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 134: "crane", 207: "golden retriever", 250: "Siberian husky",
		270: "white wolf, Arctic wolf, Canis lupus tundrarum", 279: "Arctic fox, white fox, Alopex lagopus",
		291: "lion, king of beasts, Panthera leo", 360: "otter",
		387: "lesser panda, red panda, panda, bear cat, cat bear, Ailurus fulgens",
		388: "giant panda, panda, panda bear, coon bear, Ailuropoda melanoleuca",
		417: "balloon", 517: "crane", 638: "maillot", 639: "maillot, tank suit", 657: "missile", 744: "projectile, missile",
		836: "sunglass", 837: "sunglasses, dark glasses, shades", 933: "cheeseburger", 971: "bubble", 974: "geyser",
		979: "valley, vale", 980: "volcano", 985: "daisy", 999: "toilet tissue, toilet paper, bathroom tissue",
	} {
		if names[i] != want {
			t.Errorf("class %d is %q, want %q", i, names[i], want)
		}
	}
	whole := map[string]int{}
	for i, name := range names {
		for _, synonym := range strings.Split(name, ",") {
			if word := strings.TrimSpace(synonym); word == "" || synonym != strings.TrimRight(synonym, " ") {
				t.Errorf("class %d: %q has an empty synonym or a space too many", i, name)
			}
		}
		if first, twice := whole[name]; twice && name != "crane" {
			t.Errorf("classes %d and %d are both %q", first, i, name)
		}
		whole[name] = i
	}
	names[0] = "changed"
	if Names()[0] == "changed" {
		t.Error("a caller can change the names")
	}
}
