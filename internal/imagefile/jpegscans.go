package imagefile

import (
	"bytes"
	"fmt"
)

// A progressive file can visit all blocks of an image in a scan of a few bytes, and have any number
// of scans. Encoders make about 10 scans, which is up to 6 visits of a block. A visit takes about
// 100 ns.
const (
	freeVisits = 1 << 23 // visits of blocks that decoding any file may take
	fileVisits = 8       // and for each byte of the file
)

// jpegSurvey is what a JPEG file is made of, found without decoding it.
type jpegSurvey struct {
	scans    int
	visits   int64 // of blocks, over all scans
	restarts bool  // there are restart intervals
	adobe    int   // offset of the transform in Adobe's segment; 0: there is none
}

// survey walks over the segments of a file, and over the coded data between them.
func (f *jpegFrame) survey(file []byte) jpegSurvey {
	var s jpegSurvey
	for at := 2; at < len(file)-1; {
		next := bytes.IndexByte(file[at:len(file)-1], 0xff)
		if next < 0 {
			break
		}
		at += next
		marker := file[at+1]
		switch {
		case marker == 0xff: // fill byte
			at++
			continue
		case marker <= 1, marker >= 0xd0 && marker <= jpegSOI: // stuffed byte, restart: no segment
			at += 2
			continue
		}
		if marker == jpegEOI || len(file)-at < 4 {
			break
		}
		segment := file[at+4 : min(max(at+2+int(file[at+2])<<8+int(file[at+3]), at+4), len(file))]
		switch {
		case marker == jpegSOS:
			s.scans++
			s.visits += f.visits(segment)
		case marker == jpegDRI && len(segment) == 2:
			s.restarts = s.restarts || segment[0]|segment[1] != 0
		case marker == jpegAPP14 && len(segment) >= 12 && string(segment[:5]) == "Adobe":
			s.adobe = at + 4 + 11
		}
		at += 4 + len(segment)
	}
	return s
}

// visits returns how many blocks a scan visits.
func (f *jpegFrame) visits(scan []byte) int64 {
	var n int64
	if len(scan) == 0 || len(scan) < 1+2*int(scan[0]) {
		return 0 // an error, as decoding finds
	}
	for k := range int(scan[0]) {
		for i, c := range f.components {
			if c.id == scan[1+2*k] {
				n += f.blocks(i, scan[0] > 1)
			}
		}
	}
	return n
}

// explain names the form of a file that the standard library fails to decode though other programs
// read it: it counts the restart intervals of progressive scans otherwise where a scan has one
// component of several.
func (s jpegSurvey) explain(f *jpegFrame, err error) error {
	if f.progressive() && s.restarts && len(f.components) > 1 {
		return fmt.Errorf("progressive JPEG with restart markers, which is not supported: %w", err)
	}
	return err
}
