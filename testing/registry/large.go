package registry

import (
	"fmt"
	"math/rand/v2"
)

// Large makes an image like those of applications, for measurements: layers of so many bytes, with many small files and a few
// large ones; most of it text, which packs to about a third, some of it packed already. size is that of all files.
func Large(name string, layers, layerSize int) (img *Image, size int64) {
	img = Scratch(name, nil)
	for l := range layers {
		r := rand.New(rand.NewPCG(uint64(l), 1))
		files := map[string]File{}
		for n, left := 0, layerSize; left > 0; n++ {
			length := 500 + r.IntN(20_000)
			switch n % 100 {
			case 0:
				length = 3_000_000
			case 25, 50, 75:
				length = 200_000
			}
			length = min(length, left)
			left -= length
			size += int64(length)
			files[fmt.Sprintf("opt/layer%d/part%d/file%d", l, n/100, n)] = File{Data: words(r, length, n%10 == 9)}
		}
		img.Add(Gzip, files)
	}
	return img, size
}

// words is text of words that recur, with numbers between them; packed is data that can't be packed further.
func words(r *rand.Rand, length int, packed bool) []byte {
	b := make([]byte, 0, length+24)
	for len(b) < length {
		if packed || r.IntN(6) == 0 {
			v := r.Uint64()
			b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
			continue
		}
		word := r.IntN(40) * r.IntN(100) // the first ones come most often
		b = fmt.Appendf(b, "%x_%d ", word*2654435761, word%7)
	}
	return b[:length]
}
