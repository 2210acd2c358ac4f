import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from ignota.data.images import (
    decode_image,
    decode_label,
    fit_short_side,
    image_size,
    read_image,
    read_label,
    resize_image,
    resize_label,
    write_indexed_png,
    write_jpeg,
    write_png16,
)
from ignota.structures import InputError
from ignota.taxonomy import CAMVID


def encoded(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def low_bit_png(values: list[list[int]], bits: int) -> bytes:
    """A grey PNG of 2 or 4 bits written by hand: Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text = text.ljust(-(-len(text) // 8) * 8, "0")
        rows += b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", len(values[0]), len(values), bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


class TestReadImage:
    @pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
    def test_lossless_formats_round_trip(self, form):
        pixels = noise(7, 5, 3)
        options = {"lossless": True} if form == "WEBP" else {}
        image = decode_image(encoded(Image.fromarray(pixels), form, **options))
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, pixels)

    def test_format_is_told_by_content(self, tmp_path):
        path = tmp_path / "really_jpeg.png"
        path.write_bytes(encoded(Image.fromarray(np.full((8, 8, 3), 90, np.uint8)), "JPEG"))
        assert np.abs(read_image(path).astype(int) - 90).max() <= 2

    def test_grey_and_bilevel(self):
        grey = noise(4, 6)
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(grey))), np.stack([grey] * 3, 2))
        bits = Image.fromarray(grey > 99)
        np.testing.assert_array_equal(decode_image(encoded(bits))[:, :, 1], np.where(grey > 99, 255, 0))

    def test_sixteen_bits_are_scaled_not_clipped(self):
        values = np.array([[0, 128, 129, 257, 1000], [32768, 40000, 65407, 65406, 65535]], np.uint16)
        expected = np.rint(values / 257)
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(values)))[:, :, 0], expected)
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(values), "TIFF"))[:, :, 0], expected)

    def test_alpha_is_laid_over_black(self):
        pixels = noise(6, 6, 4)
        expected = pixels[:, :, :3] * (pixels[:, :, 3:] / 255)
        assert np.abs(decode_image(encoded(Image.fromarray(pixels, "RGBA"))) - expected).max() <= 1
        two = noise(6, 6, 2)
        expected = two[:, :, :1] * (two[:, :, 1:] / 255)
        assert np.abs(decode_image(encoded(Image.fromarray(two, "LA"))) - expected).max() <= 1

    def test_palette_with_and_without_transparency(self):
        picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
        picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        expected = np.array([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]])
        np.testing.assert_array_equal(decode_image(encoded(picture)), expected)
        expected[0, 1] = expected[1, 1] = 0
        np.testing.assert_array_equal(decode_image(encoded(picture, transparency=b"\xff\x00\xff")), expected)

    def test_cmyk(self):
        picture = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).convert("CMYK")
        assert np.abs(decode_image(encoded(picture, "JPEG", quality=100)).astype(int) - (200, 100, 50)).max() <= 4

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, orientation):
        upright = noise(4, 6, 3)
        stored = {  # how a camera that was held so stores the upright picture
            1: upright,
            2: upright[:, ::-1],
            3: np.rot90(upright, 2),
            4: upright[::-1],
            5: upright.transpose(1, 0, 2),
            6: np.rot90(upright, 1),
            7: np.rot90(upright, 2).transpose(1, 0, 2),
            8: np.rot90(upright, -1),
        }[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
        np.testing.assert_array_equal(decode_image(data), upright)

    def test_broken_orientation_is_no_rotation(self):
        pixels = noise(4, 6, 3)
        exif = Image.Exif()
        exif[0x0112] = 77
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(pixels), exif=exif)), pixels)
        garbage = encoded(Image.fromarray(pixels), exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff")
        np.testing.assert_array_equal(decode_image(garbage), pixels)

    @pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
    def test_first_frame_of_an_animation(self, form):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
        options = {"lossless": True} if form == "WEBP" else {}
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(decode_image(data)[0, 0], (200, 0, 0))

    def test_extreme_shapes(self):
        assert decode_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]
        assert decode_image(encoded(Image.new("RGB", (20_000, 1)))).shape == (1, 20_000, 3)

    def test_bombs_are_refused_from_the_header(self, tmp_path, monkeypatch):
        path = tmp_path / "bomb.png"
        path.write_bytes(encoded(Image.new("1", (30_000, 10_000))))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _self: pytest.fail("the picture was decoded"))
        with pytest.raises(InputError, match=r"30000×10000 .* scale it down"):
            read_image(path)
        with pytest.raises(InputError, match="more than 1,000"):
            read_image(path, max_pixels=1000)

    def test_below_the_limit_pillows_own_bomb_check_stays_silent(self, tmp_path):
        path = tmp_path / "large.png"
        path.write_bytes(encoded(Image.new("1", (9_500, 9_500))))  # Pillow alone warns above 89 million pixels
        assert image_size(path) == (9_500, 9_500)

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
    @pytest.mark.parametrize("keep", [0.0, 0.02, 0.1, 0.5, 0.9])
    def test_truncated(self, form, keep):
        data = encoded(Image.fromarray(noise(64, 64, 3)), form)
        with pytest.raises(InputError) as caught:
            decode_image(data[: int(len(data) * keep)], "holiday.jpg")
        assert "holiday.jpg" in str(caught.value)
        assert "\n" not in str(caught.value)

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_damaged_bytes_give_a_picture_or_an_input_error(self, data):
        form = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"]))
        body = bytearray(encoded(Image.fromarray(noise(16, 16, 3)), form))
        for _ in range(data.draw(st.integers(1, 8))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            assert decode_image(bytes(body), max_pixels=1_000_000).shape[2] == 3
        except InputError as error:
            assert "\n" not in str(error)

    @needs_avif
    def test_damaged_avif(self):
        body = encoded(Image.fromarray(noise(16, 16, 3)), "AVIF")
        for place in range(0, len(body), 7):
            damaged = bytearray(body)
            damaged[place] ^= 0x5A
            try:
                decode_image(bytes(damaged), max_pixels=1_000_000)
            except InputError as error:
                assert "\n" not in str(error)

    def test_what_is_no_picture(self, tmp_path):
        for content in (b"", b"P", b"hello\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", bytes(64), b"\x89PNG\r\n\x1a\n"):
            path = tmp_path / "x.png"
            path.write_bytes(content)
            for read in (read_image, read_label, image_size):
                with pytest.raises(InputError, match=r"x\.png"):
                    read(path)

    def test_an_empty_file_is_called_empty(self):
        with pytest.raises(InputError, match="is empty"):
            decode_image(b"")

    def test_what_is_no_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_image(tmp_path / "no.png")
        with pytest.raises(InputError, match="this is a folder"):
            read_image(tmp_path)
        with pytest.raises(InputError, match="no plain file"):
            read_image("/dev/zero")
        for hostile in ("a\0b.png", "x" * 5000, "no\nsuch.png"):
            with pytest.raises(InputError) as caught:
                read_image(hostile)
            assert "\n" not in str(caught.value)

    def test_floats_are_no_colours(self):
        with pytest.raises(InputError, match="floating-point"):
            decode_image(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))
        with pytest.raises(InputError, match=r"0\.\.65535"):
            decode_image(encoded(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"))


class TestReadLabel:
    def test_indexed_values_come_without_palette(self, tmp_path):
        label = np.array([[0, 8, 255], [10, 3, 1]], np.uint8)
        write_indexed_png(tmp_path / "a.png", label, CAMVID.palette())
        np.testing.assert_array_equal(read_label(tmp_path / "a.png"), label)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), CAMVID.palette()[label])

    def test_grey_and_bilevel(self):
        label = np.array([[0, 200], [255, 7]], np.uint8)
        np.testing.assert_array_equal(decode_label(encoded(Image.fromarray(label))), label)
        np.testing.assert_array_equal(decode_label(encoded(Image.fromarray(label > 9))), label > 9)

    @pytest.mark.parametrize("bits", [2, 4])
    def test_few_bits_are_not_spread(self, bits):
        label = [[0, 1, 2], [3, 2, 0]]
        assert decode_label(low_bit_png(label, bits)).tolist() == label

    def test_equal_channels_are_grey(self):
        label = noise(4, 5)
        np.testing.assert_array_equal(decode_label(encoded(Image.fromarray(np.stack([label] * 3, 2)))), label)
        opaque = np.stack([label] * 3 + [np.full_like(label, 255)], 2)
        np.testing.assert_array_equal(decode_label(encoded(Image.fromarray(opaque, "RGBA"))), label)

    def test_colour_is_refused(self):
        with pytest.raises(InputError, match=r"colour picture.*single-channel PNG"):
            decode_label(encoded(Image.fromarray(noise(4, 5, 3))))

    def test_jpeg_is_refused(self):
        with pytest.raises(InputError, match="save labels as PNG"):
            decode_label(encoded(Image.fromarray(noise(4, 5)), "JPEG"))

    def test_sixteen_bits_only_up_to_255(self):
        label = np.array([[0, 255]], np.uint16)
        assert decode_label(encoded(Image.fromarray(label))).tolist() == [[0, 255]]
        with pytest.raises(InputError, match=r"0\.\.255"):
            decode_label(encoded(Image.fromarray(label + np.uint16(1))))


class TestWriters:
    def test_png16(self, tmp_path):
        values = np.array([[0.0, 0.5, 1.0], [-1.0, 2.0, 0.25]], np.float32)
        write_png16(tmp_path / "a.png", values)
        stored = np.asarray(Image.open(tmp_path / "a.png"))
        np.testing.assert_array_equal(stored, np.rint(np.clip(values, 0, 1) * 65535))
        with pytest.raises(ValueError, match="NaN"):
            write_png16(tmp_path / "a.png", values * np.nan)

    def test_jpeg(self, tmp_path):
        write_jpeg(tmp_path / "a.jpg", np.full((8, 9, 3), (200, 60, 30), np.uint8))
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 60, 30)).max() <= 4
        assert image_size(tmp_path / "a.jpg") == (8, 9)

    def test_writers_are_atomic(self, tmp_path, monkeypatch):
        monkeypatch.setattr("os.fsync", lambda _descriptor: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(InputError, match="no space left"):
            write_jpeg(tmp_path / "a.jpg", np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(InputError, match="no space left"):
            write_png16(tmp_path / "a.png", np.zeros((4, 4)))
        with pytest.raises(InputError, match="no space left"):
            write_indexed_png(tmp_path / "b.png", np.zeros((4, 4), np.uint8), CAMVID.palette())
        assert not list(tmp_path.iterdir())


class TestSizes:
    def test_fit_short_side(self):
        assert fit_short_side(1024, 2048, 360) == (360, 720)
        assert fit_short_side(480, 360, 720) == (960, 720)
        assert fit_short_side(1, 20_000, 360) == (1, 2880)
        assert fit_short_side(1, 1, 360) == (360, 360)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 2000))
    def test_fit_short_side_keeps_aspect_and_bounds(self, height, width, short):
        h, w = fit_short_side(height, width, short)
        assert 1 <= min(h, w) <= short
        assert max(h, w) <= 8 * short
        if max(height, width) <= 8 * min(height, width):
            assert min(h, w) == short
            assert abs(h / w - height / width) <= (1 + height / width) / min(h, w)

    def test_shrinking_takes_area_means(self):
        image = noise(8, 12, 3)
        means = image.reshape(2, 4, 3, 4, 3).mean((1, 3))
        assert np.abs(resize_image(image, (2, 3)) - means).max() <= 1

    def test_growing_and_same_size(self):
        image = np.array([[[0, 0, 0], [200, 100, 50]]], np.uint8)
        assert resize_image(image, (1, 4))[0, :, 0].tolist() == [0, 50, 150, 200]
        assert resize_image(image, (1, 2)) is image
        label = image[:, :, 0]
        assert resize_label(label, (1, 2)) is label

    @pytest.mark.parametrize("size", [(3, 3), (4, 6), (9, 9), (20, 17)])
    def test_labels_take_the_nearest_centre(self, size):
        label = noise(9, 9)
        rows, columns = (((np.arange(n) + 0.5) * 9 / n).astype(int) for n in size)
        np.testing.assert_array_equal(resize_label(label, size), label[np.ix_(rows, columns)])
