from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwmodels import Op, Workload, WorkloadError, networks, systolic_cycles
from hwmodels.networks import load_network, network_description, network_names, read_table, select

HEADER = "layer,op,in_channels,out_channels,kernel_h,kernel_w,stride,in_h,in_w,out_h,out_w,groups,weight_bits,weight_density\n"
ROW = "conv1,conv,3,8,3,3,1,32,32,32,32,1,8,0.5\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "net.csv"
    path.write_text(text, encoding="utf-8")
    return path


# Millions of multiply-accumulates of one image and millions of weights (without biases), as published: AlexNet: 666 M in
# the convolutions and 58.6 M in the linear layers, 61 M parameters (Krizhevsky 2012; Eyeriss, JSSC 2017). VGG: 15.5 G and
# 19.6 G MACs, 138 M and 144 M (Simonyan 2015, table 2). GoogLeNet: 1.58 G, 7.0 M (Szegedy 2015). ResNet-18, -34, -50: 1.8, 3.6
# and 3.8 G (He 2016, table 1; with shortcuts 1.81, 3.66 and 3.86 G), 11.7, 21.8 and 25.5 M; v1.5: 4.09 G (torchvision).
# MobileNet: 569 M, 4.2 M (Howard 2017, table 4). ResNet-20, -32, -56: 0.27, 0.46 and 0.85 M (He 2016, table 6), 40.6, 69 and
# 125 M MACs. LeNets: 431 K and 267 K weights with biases (Han 2016, table 2). FINN: 0.33, 2.9 and 1.54 M weights
# (Umuroglu 2017, table 3). NeuroSim's VGG-8: 12.97 M weights.
@pytest.mark.parametrize(
    ("name", "macs_m", "weights_m"),
    [
        ("alexnet", 724.4, 60.95),
        ("alexnet_torch", 714, 61.1),
        ("vgg16", 15_470, 138.3),
        ("vgg19", 19_630, 143.65),
        ("googlenet", 1_582, 6.99),
        ("resnet18", 1_814, 11.68),
        ("resnet34", 3_664, 21.78),
        ("resnet50", 3_858, 25.5),
        ("resnet50_v1_5", 4_089, 25.5),
        ("mobilenet_v1", 568.7, 4.21),
        ("resnet20", 40.55, 0.268),
        ("resnet32", 68.9, 0.462),
        ("resnet56", 125.5, 0.849),
        ("lenet5", 2.293, 0.4305),
        ("lenet300", 0.2662, 0.2662),
        ("finn_sfc", 0.334, 0.334),
        ("finn_lfc", 2.91, 2.91),
        ("finn_cnv", 59.5, 1.543),
        ("vgg8_cifar", 616, 12.97),
    ],
)
def test_a_table_has_the_published_number_of_macs_and_weights(name: str, macs_m: float, weights_m: float) -> None:
    workload = load_network(name)
    np.testing.assert_allclose(workload.macs.sum() / 1e6, macs_m, rtol=2e-3)
    np.testing.assert_allclose(workload.weights.sum() / 1e6, weights_m, rtol=2e-3)


def test_the_convolutions_of_alexnet_take_666_million_macs() -> None:
    # 55^2 x 48 x 2 x 363 = 105.4 M, 27^2 x 256 x 1200 = 223.9 M, 13^2 x 384 x 2304 = 149.5 M, half of 224.3 M twice: 112.1 and 74.8 M
    workload = load_network("alexnet")
    np.testing.assert_array_equal(workload.macs[:5], [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192])
    assert workload.macs[:5].sum() == 665_784_864


def test_leaving_out_the_groups_doubles_three_layers_of_alexnet() -> None:
    ratio = load_network("alexnet_ungrouped").macs / load_network("alexnet").macs
    np.testing.assert_array_equal(ratio, [1, 2, 1, 2, 2, 1, 1, 1])


def test_the_svd_of_vgg16_changes_only_fc6() -> None:
    # Qiu 2016: 30.69 GOP of convolutions, 137.0 GOP/s at 4.45 frames/s are 30.8 GOP for the whole network
    workload, whole = load_network("vgg16_svd"), load_network("vgg16")
    assert workload.macs.sum() == whole.macs.sum() - 25_088 * 4_096 + 500 * (25_088 + 4_096)
    np.testing.assert_allclose(2e-9 * workload.macs[workload.op == Op.CONV].sum(), 30.69, rtol=2e-3)
    np.testing.assert_allclose(2e-9 * workload.macs.sum(), 137.0 / 4.45, rtol=2e-3)


def test_yolov2_takes_the_operations_that_its_fpga_designs_count() -> None:
    # 29.472 GOP in the README of dhm2013724/yolov2_xilinx_fpga, which counts pooling too; Darknet itself prints 29.46 for the convolutions
    np.testing.assert_allclose(2e-9 * load_network("yolov2_416").macs.sum(), 29.472, rtol=5e-4)


def test_the_lstm_gives_the_rate_that_ese_reports() -> None:
    # Han 2017: 32 channels in 82.7 us, and 2520 GOP/s for the network before pruning
    operations = 2 * load_network("google_lstm").macs.sum()
    np.testing.assert_allclose(operations * 32 / 82.7e-6 / 1e9, 2520, rtol=5e-3)


def test_the_layers_of_eie_have_its_sizes_and_densities() -> None:
    # Han 2016: 102 GOP/s of work on the compressed layers; Alex-6 has 9216 x 4096 weights, of which 9 % remain
    workload = load_network("eie_fc")
    assert workload.names == ("Alex-6", "Alex-7", "Alex-8", "VGG-6", "VGG-7", "VGG-8", "NT-We", "NT-Wd", "NT-LSTM")
    assert workload.nonzeros[0] == round(0.09 * 9216 * 4096)
    assert set(workload.index_bits.tolist()) == {4}


# Wu 2022 (Sparseloop), fig. 12: C, M and output pixels of three layers; 1 769 472 MACs in the dense first one
@pytest.mark.parametrize(("layer", "macs"), [("L01", 1_769_472), ("L07", 64 * 64 * 1024), ("L13", 128 * 256 * 64), ("L27", 512 * 512 * 16)])
def test_the_small_mobilenet_has_the_layers_of_the_eyeriss_v2_study(layer: str, macs: int) -> None:
    assert select(load_network("mobilenet_v1_050_128"), [layer]).macs.tolist() == [macs]


# Samajdar 2020; sums over the network that SCALE-Sim 3.0.0 printed for a 32x32 array
@pytest.mark.parametrize(
    ("network", "dataflow", "cycles"),
    [
        ("alexnet", "os", 850_960),
        ("alexnet", "ws", 1_136_239),
        ("alexnet", "is", 1_158_205),
        ("resnet18", "os", 1_718_353),
        ("resnet18", "ws", 2_519_815),
        ("resnet18", "is", 2_838_997),
        ("resnet50", "os", 4_434_168),
        ("resnet50", "ws", 5_753_486),
    ],
)
def test_the_tables_of_scalesim_give_its_whole_network_cycles(network: str, dataflow: str, cycles: int) -> None:
    work = load_network(f"scalesim_{network}")
    assert systolic_cycles(work.gemm_m, work.gemm_k, work.gemm_n, rows=32, cols=32, dataflow=dataflow).sum() == cycles


def test_every_layer_that_scalesim_was_run_on_takes_its_cycles_with_the_shapes_of_the_tables() -> None:
    with (Path(networks.__path__[0]).parent / "published" / "scalesim_cycles.csv").open(encoding="utf-8") as file:
        layers = list(csv.DictReader(file))
    assert len(layers) == 78
    for row in layers:
        work = select(load_network(f"scalesim_{row['network']}"), [row["layer"]])
        sizes, (rows, cols) = (work.gemm_m, work.gemm_k, work.gemm_n), (int(row["rows"]), int(row["cols"]))
        assert systolic_cycles(*sizes, rows=rows, cols=cols, dataflow=row["dataflow"]).tolist() == [int(row["cycles"])], row


@pytest.mark.parametrize("name", network_names())
def test_every_table_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    table = Path(networks.__path__[0]) / f"{name}.csv"
    first, second, *_ = table.read_text(encoding="utf-8").splitlines()
    assert first == f"# {network_description(name)}"
    assert second.startswith("# ")


@pytest.mark.parametrize("name", network_names())
def test_the_maps_of_every_table_fit_its_kernels_and_strides(name: str) -> None:
    workload = load_network(name)
    room = workload.in_h - workload.kernel_h
    if name.startswith("scalesim"):  # it counts a last, incomplete window too
        np.testing.assert_array_equal(workload.out_h, -(-room // workload.stride) + 1)
    else:  # as many windows as a padding between none and half a kernel leaves room for
        assert (workload.out_h >= room // workload.stride + 1).all()
        assert (workload.out_h <= (room + 2 * (workload.kernel_h // 2)) // workload.stride + 1).all()
    np.testing.assert_array_equal(workload.out_h, workload.out_w)


def test_the_layers_of_a_chain_pass_their_channels_on() -> None:
    for name in ("alexnet", "vgg16", "vgg19", "mobilenet_v1", "lenet5", "finn_cnv", "vgg8_cifar", "mnsim_vgg16"):
        workload = load_network(name)
        pixels = np.where(
            (workload.op[:-1] == Op.CONV) & (workload.op[1:] == Op.LINEAR), workload.in_channels[1:] // workload.out_channels[:-1], 1
        )
        np.testing.assert_array_equal(workload.out_channels[:-1] * pixels, workload.in_channels[1:], err_msg=name)


def test_an_unknown_network_is_named_with_what_was_probably_meant() -> None:
    with pytest.raises(WorkloadError, match=r"^No network is called 'alexnett' \(did you mean 'alexnet'\?\); there are alexnet, "):
        load_network("alexnett")
    with pytest.raises(WorkloadError, match=r"No network is called '\.\./workload'"):
        network_description("../workload")


def test_a_loaded_network_is_shared_and_cannot_be_changed() -> None:
    assert load_network("lenet5") is load_network("lenet5")
    with pytest.raises(ValueError, match="read-only"):
        load_network("lenet5").in_channels[0] = 3


def test_select_keeps_order_and_candidates() -> None:
    workload = load_network("alexnet").replace(batch=np.array([[1], [4]]), weight_bits=np.full((2, 8), 8))
    picked = select(workload, ["fc7", "conv2"])
    assert picked.names == ("fc7", "conv2")
    assert picked.shape == (2, 2)
    np.testing.assert_array_equal(picked.macs, workload.macs[:, [6, 1]])


def test_select_of_a_one_layer_workload_keeps_its_candidates() -> None:
    workload = Workload(names=("fc",), in_channels=np.full((3, 1), 4), out_channels=np.array(2))
    assert select(workload, ["fc"]).shape == (3, 1)


def test_select_names_a_layer_that_is_not_there() -> None:
    with pytest.raises(WorkloadError, match=r"No layer is called 'fc9' \(did you mean 'fc8'\?\); there are conv1, "):
        select(load_network("alexnet"), ["fc9"])


def test_missing_columns_and_empty_cells_take_the_defaults(tmp_path: Path) -> None:
    workload = read_table(written(tmp_path, "# a net\n\nlayer,in_channels,out_channels,weight_bits\nfc,10,5,\n# a remark\nout,5,2,4\n"))
    assert workload.names == ("fc", "out")
    np.testing.assert_array_equal(workload.weight_bits, [32, 4])
    np.testing.assert_array_equal(workload.macs, [50, 10])


def test_spaces_quotes_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    workload = read_table(written(tmp_path, '\ufefflayer, op, in_channels, out_channels\n"a, b", Linear, 10, 5\n'))
    assert workload.names == ("a, b",)
    assert workload.op.tolist() == [Op.LINEAR]


@pytest.mark.parametrize(
    ("cell", "bad", "complaint"),
    [
        ("3,8", "0,8", r"net.csv, line 2: `in_channels` must be a whole number from 1 to 2147483647, but is '0'\."),
        ("3,8", "3,-8", r"line 2: `out_channels` must be a whole number from 1 .*, but is '-8'\."),
        ("3,8", "3,8.5", r"line 2: `out_channels` must be a whole number .*, but is '8.5'\."),
        ("3,8", ",8", r"line 2: `in_channels` must be given, but is ''\."),
        ("conv1,", ",", r"line 2: `layer` must be given, but is ''\."),
        ("conv,", "pool,", r"line 2: `op` must be one of conv, linear, but is 'pool'\."),
        ("1,8,0.5", "1,33,0.5", r"line 2: `weight_bits` must be a whole number from 1 to 32, but is '33'\."),
        ("0.5", "1.5", r"line 2: `weight_density` must be a number in \[0, 1\], but is '1.5'\."),
        ("0.5", "nan", r"line 2: `weight_density` must be a number in \[0, 1\], but is 'nan'\."),
        ("0.5", "half", r"line 2: `weight_density` must be a number in \[0, 1\], but is 'half'\."),
        (
            "32,32,1,8",
            "32,32,2,8",
            r"line 2: `in_channels` must be a multiple of `groups`, but layer 'conv1' has \(in_channels=3, groups=2\)\.",
        ),
        ("3,8,3,3", "9000000,9000000,3000,1", r"line 2: a layer must take at most 2\^53 MACs per pass, but 'conv1' takes 2.5e\+20"),
        (",0.5", "", r"line 2: a row must have 14 values, one a column, but has 13\."),
    ],
)
def test_a_bad_cell_is_named_with_file_line_column_value_and_rule(tmp_path: Path, cell: str, bad: str, complaint: str) -> None:
    with pytest.raises(WorkloadError, match=complaint) as caught:
        read_table(written(tmp_path, HEADER + ROW.replace(cell, bad, 1)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no column `layer`"),
        ("# nothing else\n", "has no column `layer`"),
        (HEADER, "has no layers below its header"),
        (HEADER + ROW + ROW, "line 3: `layer` must be unique, but 'conv1' is on line 2 too"),
        (HEADER.replace("stride", "strides") + ROW, "unknown column `strides`; known are layer, in_channels"),
        (HEADER.replace("stride", "groups") + ROW, "has the column `groups` twice"),
        ("layer,in_channels\nfc,3\n", "has no column `out_channels`"),
    ],
)
def test_a_bad_file_is_named_with_the_rule(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(WorkloadError, match=complaint):
        read_table(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none\.csv cannot be read: No such file or directory"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "net.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkloadError, match="it is not UTF-8 text"):
        read_table(tmp_path / "net.csv")


def test_a_written_workload_reads_back_as_it_was(tmp_path: Path) -> None:
    workload = load_network("mobilenet_v1_050_128")
    rows = [row | {"op": Op(row["op"]).name.lower(), "pattern": "dense"} for row in workload.rows()]
    with (tmp_path / "net.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["layer", *list(rows[0])[1:]])
        writer.writeheader()
        writer.writerows({"layer": row.pop("name")} | row for row in rows)
    again = read_table(tmp_path / "net.csv")
    assert again.names == workload.names
    for name, array in workload.arrays().items():
        np.testing.assert_array_equal(np.broadcast_to(array, workload.shape), getattr(again, name), err_msg=name)


def test_networks_are_read_without_torch_and_only_when_asked_for() -> None:
    code = (
        "import sys, hwmodels.networks as n; n.load_network('vgg16'); print(n.load_network.cache_info().currsize, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"]
