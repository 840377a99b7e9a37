"""x"""
import click
@click.command()
def quantize() -> None:
    pass
